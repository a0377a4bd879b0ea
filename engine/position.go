package engine

import (
	"fmt"
	"hash/fnv"
	"math/bits"
	"strconv"
	"strings"
)

// Position is a reader's place in a stream: after which record to go on. It is
// opaque to readers, sorts bytewise in the order of the stream, consists of
// [A-Za-z0-9._~-] only and is at most 128 bytes long, so that it fits a
// Last-Event-ID header, a query parameter and a file name as it is. The empty
// Position is the start. It stays valid across restarts of the engine.
type Position string

// Cursor is what engines put into a Position.
type Cursor struct {
	// Offset is the engine's number of the record; it grows along the stream.
	Offset uint64
	// Attempt and N are those of the record; with them a reader can tell a
	// gap after a resume.
	Attempt int
	N       uint64
}

// Position writes the cursor as a position of the named stream. The stream's
// name goes in as a short hash, so that a position of another stream is
// noticed.
func (c Cursor) Position(stream string) Position {
	b := make([]byte, 0, 48)
	b = append(appendHex(b, uint64(tag(stream)), 4), '-')
	b = append(appendHex(b, c.Offset, 13), '-')
	b = append(appendHex(b, uint64(c.Attempt), 1), '-')
	return Position(appendHex(b, c.N, 1))
}

// appendHex writes n with at least width digits. Readers of busy streams make
// a position for each record, so this does without package fmt.
func appendHex(b []byte, n uint64, width int) []byte {
	for digits := max((bits.Len64(n)+3)/4, width); digits > 0; digits-- {
		b = append(b, "0123456789abcdef"[n>>(4*(digits-1))&15])
	}
	return b
}

// Cursor reads a position of the named stream. It returns [ErrPosition] if it
// is malformed or of another stream. The empty position is the zero Cursor.
func (p Position) Cursor(stream string) (Cursor, error) {
	if p == "" {
		return Cursor{}, nil
	}
	parts := strings.Split(string(p), "-")
	if len(p) > 128 || len(parts) != 4 || parts[0] != fmt.Sprintf("%04x", tag(stream)) || len(parts[1]) < 13 {
		return Cursor{}, ErrPosition
	}
	offset, err1 := strconv.ParseUint(parts[1], 16, 64)
	attempt, err2 := strconv.ParseUint(parts[2], 16, 31)
	n, err3 := strconv.ParseUint(parts[3], 16, 64)
	if err1 != nil || err2 != nil || err3 != nil {
		return Cursor{}, ErrPosition
	}
	c := Cursor{Offset: offset, Attempt: int(attempt), N: n}
	if c.Position(stream) != p { // only the one canonical form is ours
		return Cursor{}, ErrPosition
	}
	return c, nil
}

func tag(stream string) uint16 {
	h := fnv.New32a()
	h.Write([]byte(stream)) //nolint:errcheck // a hash never fails
	s := h.Sum32()
	return uint16(s>>16) ^ uint16(s)
}
