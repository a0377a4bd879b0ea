package celery

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"

	"github.com/rhubarb-go/rhubarb/engine"
)

// decompress undoes a message's compression. kombu/compression.py names the
// types; its gzip writes a zlib container, and a real gzip one is read too.
func decompress(body []byte, kind string, limit int) ([]byte, error) {
	var r io.Reader
	switch kind {
	case "", "null":
		if len(body) > limit {
			return nil, tooLarge(limit)
		}
		return body, nil
	case "application/x-gzip", "application/zlib", "gzip", "zlib":
		var err error
		if r, err = deflated(body); err != nil {
			return nil, fmt.Errorf("decompress %s: %w", kind, err)
		}
	case "application/zstd", "application/zstandard", "zstd", "zstandard":
		z, err := zstd.NewReader(bytes.NewReader(body), zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(uint64(limit)+1<<20))
		if err != nil {
			return nil, fmt.Errorf("decompress %s: %w", kind, err)
		}
		defer z.Close()
		r = z
	default:
		return nil, &UnsupportedError{"compression", kind, "gzip, zlib and zstd are"}
	}
	out, err := io.ReadAll(io.LimitReader(r, int64(limit)+1))
	if len(out) > limit {
		return nil, tooLarge(limit)
	}
	if err != nil {
		return nil, fmt.Errorf("decompress %s: %w", kind, err)
	}
	return out, nil
}

func deflated(body []byte) (io.Reader, error) {
	if bytes.HasPrefix(body, []byte{0x1f, 0x8b}) {
		return gzip.NewReader(bytes.NewReader(body))
	}
	return zlib.NewReader(bytes.NewReader(body))
}

func tooLarge(limit int) error {
	return fmt.Errorf("it has more than %d bytes: %w", limit, engine.ErrLimit)
}
