package gateway

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"hash/fnv"
	"strings"

	"github.com/rhubarb-go/rhubarb/engine"
	"github.com/rhubarb-go/rhubarb/sse"
)

// source is a stream or a group that a connection follows among others.
type source struct {
	task, group string // one of them
}

func (s source) name() string { return s.task + s.group }

// tag tells sources apart in a vector.
func (s source) tag() uint16 {
	h := fnv.New32a()
	kind := "task "
	if s.group != "" {
		kind = "group "
	}
	_, _ = h.Write([]byte(kind + s.name())) // a hash never fails
	sum := h.Sum32()
	return uint16(sum>>16) ^ uint16(sum)
}

// vector is where a client is in each of several sources; empty is nowhere yet.
type vector []engine.Position

const (
	vectorMark = "v" // begins an id that is a vector
	handleMark = "h" // begins an id that names one

	// lost is no position of anything: whoever goes on from it is told of a gap.
	lost engine.Position = "lost"
)

var errVector = errors.New("the id is of other sources, or of none")

// id is the vector as an event's id. It is false if that is too long for one.
//
// For each source that has a position it holds the source's tag and the
// position's numbers, in base64.
func (v vector) id(sources []source) (string, bool) {
	b := make([]byte, 0, 128)
	for i, pos := range v {
		cur, err := pos.Cursor(sources[i].name())
		if pos == "" || err != nil {
			continue // a lost one is told anew
		}
		b = binary.BigEndian.AppendUint16(b, sources[i].tag())
		b = binary.AppendUvarint(b, cur.Offset)
		b = binary.AppendUvarint(b, uint64(cur.Attempt))
		b = binary.AppendUvarint(b, cur.N)
	}
	id := vectorMark + base64.RawURLEncoding.EncodeToString(b)
	return id, len(id) <= sse.MaxID
}

// readVector reads an id. Sources that it does not have are nowhere yet.
func readVector(id string, sources []source) (vector, error) {
	v := make(vector, len(sources))
	text, marked := strings.CutPrefix(id, vectorMark)
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if !marked || err != nil || len(id) > sse.MaxID {
		return nil, errVector
	}
	for len(b) > 0 {
		if len(b) < 2 {
			return nil, errVector
		}
		tag := binary.BigEndian.Uint16(b)
		var n [3]uint64
		b = b[2:]
		for i := range n {
			var size int
			if n[i], size = binary.Uvarint(b); size <= 0 {
				return nil, errVector
			}
			b = b[size:]
		}
		if n[1] > 1<<31-1 {
			return nil, errVector
		}
		at := v.free(sources, tag)
		if at < 0 {
			continue // it is followed no more
		}
		v[at] = engine.Cursor{Offset: n[0], Attempt: int(n[1]), N: n[2]}.Position(sources[at].name())
	}
	return v, nil
}

// free is the first source with a tag that has no position yet, or -1.
func (v vector) free(sources []source, tag uint16) int {
	for i, s := range sources {
		if v[i] == "" && s.tag() == tag {
			return i
		}
	}
	return -1
}

// allLost is where nothing is known of where the client was.
func allLost(sources []source) vector {
	v := make(vector, len(sources))
	for i := range v {
		v[i] = lost
	}
	return v
}
