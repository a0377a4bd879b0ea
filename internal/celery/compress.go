package celery

import (
	"bytes"
	"compress/bzip2"
	"compress/gzip"
	"compress/zlib"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/zstd"

	"github.com/rhubarb-go/rhubarb/engine"
)

// container is a form of compressed data.
type container int

const (
	unknown container = iota
	none
	deflate // zlib, and gzip on the way in
	zstandard
	bzip
)

// containerOf knows kombu's names and aliases. kombu/compression.py: its gzip
// is a zlib container.
func containerOf(name string) container {
	switch name {
	case "":
		return none
	case "application/x-gzip", "application/gzip", "application/zlib", "gzip", "zlib":
		return deflate
	case "application/zstd", "zstd", "zstandard":
		return zstandard
	case "application/x-bz2", "bzip2", "bzip":
		return bzip
	}
	return unknown
}

// decompress undoes a message's compression and reads at most limit bytes. A
// body that is larger gives [engine.ErrLimit], wrapped.
func decompress(body []byte, name string, limit int) ([]byte, error) {
	var r io.Reader
	var err error
	switch containerOf(name) {
	case none:
		if len(body) > limit {
			return nil, tooLarge(limit)
		}
		return body, nil
	case deflate:
		r, err = inflater(body)
	case zstandard:
		var z *zstd.Decoder
		// A window is at most what the whole may be; 1 MiB is the least that encoders choose.
		z, err = zstd.NewReader(bytes.NewReader(body), zstd.WithDecoderConcurrency(1),
			zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxMemory(uint64(limit)+1<<20))
		if err == nil {
			defer z.Close()
			r = z
		}
	case bzip:
		r = bzip2.NewReader(bytes.NewReader(body))
	default:
		return nil, &UnsupportedError{"compression", name, "gzip, zlib, bzip2 and zstd are"}
	}
	if err != nil {
		return nil, fmt.Errorf("decompress %s: %w", name, err)
	}
	out, err := io.ReadAll(io.LimitReader(r, int64(limit)+1))
	if len(out) > limit {
		return nil, tooLarge(limit)
	}
	if err != nil {
		return nil, fmt.Errorf("decompress %s: %w", name, err)
	}
	return out, nil
}

// inflater reads a zlib container as kombu writes it, or a real gzip one.
func inflater(body []byte) (io.Reader, error) {
	if bytes.HasPrefix(body, []byte{0x1f, 0x8b}) {
		return gzip.NewReader(bytes.NewReader(body))
	}
	return zlib.NewReader(bytes.NewReader(body))
}

func tooLarge(limit int) error {
	return fmt.Errorf("it has more than %d bytes: %w", limit, engine.ErrLimit)
}

// A deflating writer costs 800 kB to make.
var zlibWriters = sync.Pool{New: func() any { return zlib.NewWriter(nil) }}

// compress returns the body in the form of that name and the name as kombu
// writes it; where we cannot write the form, the body as it is and no name.
func compress(body []byte, name string) ([]byte, string, error) {
	switch containerOf(name) {
	case deflate:
		var b bytes.Buffer
		w := zlibWriters.Get().(*zlib.Writer)
		defer zlibWriters.Put(w)
		w.Reset(&b)
		if _, err := w.Write(body); err != nil {
			return nil, "", fmt.Errorf("compress %s: %w", name, err)
		}
		if err := w.Close(); err != nil {
			return nil, "", fmt.Errorf("compress %s: %w", name, err)
		}
		return b.Bytes(), "application/x-gzip", nil
	case zstandard:
		w, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
		if err != nil {
			return nil, "", fmt.Errorf("compress %s: %w", name, err)
		}
		return w.EncodeAll(body, nil), "application/zstd", w.Close()
	case unknown:
		return nil, "", &UnsupportedError{"compression", name, "gzip, zlib and zstd are"}
	}
	return body, "", nil
}
