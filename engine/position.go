package engine

import (
	"fmt"
	"hash/fnv"
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
	return Position(fmt.Sprintf("%04x-%013x-%x-%x", tag(stream), c.Offset, c.Attempt, c.N))
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
