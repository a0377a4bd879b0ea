package ws

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"

	"github.com/klauspost/compress/flate"
)

// maxWindow is the base-two logarithm of DEFLATE's largest window.
const maxWindow = 15

// agreement is what was agreed on about permessage-deflate. The zero value is
// no compression. Neither side keeps its window from one message to the next:
// that would cost a connection hundreds of kilobytes, and a broadcast could not
// be compressed once.
type agreement struct {
	window int  // of what we send, 0 without compression
	asked  bool // the client asked for a smaller one
}

// agree takes the first offer that can be met. RFC 7692, 7.1.
func agree(offers []string) agreement {
	for _, list := range offers {
		for offer := range strings.SplitSeq(list, ",") {
			if a, ok := readOffer(offer); ok {
				return a
			}
		}
	}
	return agreement{}
}

func readOffer(offer string) (agreement, bool) {
	name, rest, more := strings.Cut(offer, ";")
	if strings.TrimSpace(name) != "permessage-deflate" {
		return agreement{}, false
	}
	a := agreement{window: maxWindow}
	if !more {
		return a, true
	}
	seen := map[string]bool{}
	for param := range strings.SplitSeq(rest, ";") {
		key, value, has := strings.Cut(param, "=")
		key, value = strings.TrimSpace(key), strings.Trim(strings.TrimSpace(value), `"`)
		if seen[key] {
			return a, false
		}
		seen[key] = true
		switch key {
		case "server_no_context_takeover", "client_no_context_takeover":
			if has {
				return a, false
			}
		case "client_max_window_bits": // a hint; what we read may have any window
			if has && windowBits(value) == 0 {
				return a, false
			}
		case "server_max_window_bits":
			if a.window, a.asked = windowBits(value), true; a.window == 0 {
				return a, false
			}
		default:
			return a, false
		}
	}
	return a, true
}

// windowBits is 0 for what is no number of 8 to 15 without leading zeros.
// RFC 7692, 7.1.2.
func windowBits(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil || n < 8 || n > maxWindow || strconv.Itoa(n) != s {
		return 0
	}
	return n
}

// header is the answer to the offer. RFC 7692, 7.1.1: each side may refuse the
// other one's context takeover.
func (a agreement) header() string {
	h := "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
	if a.asked {
		h += "; server_max_window_bits=" + strconv.Itoa(a.window)
	}
	return h
}

// tail is what a sync flush ends with and a message leaves out.
// RFC 7692, 7.2.1.
const tail = "\x00\x00\xff\xff"

// final ends the stream for our reader, after the tail.
const final = "\x01\x00\x00\xff\xff"

var inflaters = sync.Pool{New: func() any { return flate.NewReader(nil) }}

// inflate unpacks a message of at most most bytes.
func inflate(packed []byte, most int) ([]byte, error) {
	r := inflaters.Get().(io.ReadCloser)
	defer inflaters.Put(r)
	src := io.MultiReader(bytes.NewReader(packed), strings.NewReader(tail+final))
	if err := r.(flate.Resetter).Reset(src, nil); err != nil {
		return nil, fmt.Errorf("ws: unpack: %w", err)
	}
	out, err := io.ReadAll(io.LimitReader(r, int64(most)+1))
	switch {
	case len(out) > most:
		return nil, &Failure{CloseTooBig, fmt.Sprintf("messages have at most %d bytes, unpacked", most)}
	case err != nil && !errors.Is(err, io.ErrUnexpectedEOF):
		return nil, &Failure{CloseInvalid, "a compressed message cannot be unpacked"}
	case err != nil:
		return nil, &Failure{CloseInvalid, "a compressed message is cut off"}
	}
	return out, nil
}

// deflater packs for one size of window.
type deflater struct {
	w   *flate.Writer
	buf bytes.Buffer
}

// deflaters are pools of *deflater by window bits.
var deflaters [maxWindow + 1]sync.Pool

// deflate packs a payload and returns it as a frame.
func deflate(op byte, payload []byte, window int) ([]byte, error) {
	d, _ := deflaters[window].Get().(*deflater)
	if d == nil {
		d = new(deflater)
		var err error
		if window == maxWindow {
			d.w, err = flate.NewWriter(nil, flate.BestSpeed)
		} else {
			d.w, err = flate.NewWriterWindow(nil, 1<<window)
		}
		if err != nil {
			return nil, fmt.Errorf("ws: compress: %w", err)
		}
	}
	defer deflaters[window].Put(d)
	d.buf.Reset()
	d.w.Reset(&d.buf)
	if _, err := d.w.Write(payload); err != nil {
		return nil, fmt.Errorf("ws: compress: %w", err)
	}
	if err := d.w.Flush(); err != nil {
		return nil, fmt.Errorf("ws: compress: %w", err)
	}
	packed := bytes.TrimSuffix(d.buf.Bytes(), []byte(tail))
	return appendFrame(make([]byte, 0, len(packed)+maxHeader), op|bitRSV1, packed), nil
}
