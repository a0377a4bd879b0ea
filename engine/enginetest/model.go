package enginetest

import (
	"errors"
	"fmt"
	"slices"

	"pgregory.net/rapid"

	"github.com/rhubarb-go/rhubarb/engine"
)

// streamsModel does random things to streams and to a list beside them.
func streamsModel(c *T) {
	run := 0
	// A bubble has no deadline, and rapid must not ask for it.
	rapid.Check(struct{ rapid.TB }{c.T}, func(t *rapid.T) {
		run++
		m := &streamModel{c: c, t: t, name: fmt.Sprint("model-", run)}
		t.Repeat(map[string]func(*rapid.T){
			"begin":  m.begin,
			"append": m.append,
			"stale":  m.stale,
			"end":    m.end,
			"delete": m.delete,
			"":       m.check,
		})
	})
}

// streamModel is what a stream should hold.
type streamModel struct {
	c       *T
	t       *rapid.T
	name    string
	fence   engine.Fence
	old     []engine.Fence
	attempt int
	n       int
	ended   bool
	records []string
	gone    bool // deleted: its numbers may start again
}

func (m *streamModel) begin(t *rapid.T) {
	if m.gone {
		t.Skip("deleted")
	}
	f, err := m.c.Streams.Begin(m.c.soon(), m.name)
	if m.ended {
		if !errors.Is(err, engine.ErrEnded) {
			t.Fatalf("begin after the end: got %v", err)
		}
		return
	}
	if err != nil || f <= m.fence {
		t.Fatalf("begin: fence went from %d to %d, %v", m.fence, f, err)
	}
	if m.fence != 0 {
		m.old = append(m.old, m.fence)
	}
	m.fence, m.n = f, 0
	m.attempt++
	m.records = append(m.records, fmt.Sprintf("reset %d.0 ", m.attempt))
}

func (m *streamModel) append(t *rapid.T) {
	payloads := rapid.SliceOfN(rapid.StringN(0, 20, -1), 0, 5).Draw(t, "payloads")
	err := m.c.Streams.Append(m.c.soon(), []engine.Append{data(m.name, m.fence, payloads...)})[0]
	if m.fence == 0 || m.ended || m.gone {
		if len(payloads) > 0 && !errors.Is(err, engine.ErrSuperseded) {
			t.Fatalf("append to what is not open: got %v", err)
		}
		return
	}
	if err != nil {
		t.Fatalf("append: %v", err)
	}
	for _, p := range payloads {
		m.n++
		m.records = append(m.records, fmt.Sprintf("data %d.%d %s", m.attempt, m.n, p))
	}
}

func (m *streamModel) stale(t *rapid.T) {
	if len(m.old) == 0 {
		t.Skip("no old fence")
	}
	f := rapid.SampledFrom(m.old).Draw(t, "fence")
	if err := m.c.Streams.Append(m.c.soon(), []engine.Append{data(m.name, f, "x")})[0]; !errors.Is(err, engine.ErrSuperseded) {
		t.Fatalf("append with old fence %d: got %v", f, err)
	}
	if err := m.c.Streams.End(m.c.soon(), m.name, f, nil, 0); !errors.Is(err, engine.ErrSuperseded) {
		t.Fatalf("end with old fence %d: got %v", f, err)
	}
}

func (m *streamModel) end(t *rapid.T) {
	if rapid.IntRange(0, 5).Draw(t, "patience") > 0 {
		t.Skip("not yet")
	}
	err := m.c.Streams.End(m.c.soon(), m.name, m.fence, []byte("over"), 0)
	if m.fence == 0 || m.ended || m.gone {
		if !errors.Is(err, engine.ErrSuperseded) {
			t.Fatalf("end of what is not open: got %v", err)
		}
		return
	}
	if err != nil {
		t.Fatalf("end: %v", err)
	}
	m.ended = true
	m.records = append(m.records, fmt.Sprintf("end %d.%d over", m.attempt, m.n+1))
}

func (m *streamModel) delete(t *rapid.T) {
	if rapid.IntRange(0, 9).Draw(t, "patience") > 0 {
		t.Skip("not yet")
	}
	if err := m.c.Streams.Delete(m.c.soon(), []string{m.name}); err != nil {
		t.Fatalf("delete: %v", err)
	}
	m.gone = m.gone || m.fence != 0
	m.records = nil
}

func (m *streamModel) check(t *rapid.T) {
	most := rapid.IntRange(1, 7).Draw(t, "page")
	var got []string
	var pos engine.Position
	for {
		rs, err := m.c.Streams.Read(m.c.soon(), m.name, pos, most)
		if err != nil {
			t.Fatalf("read: %v", err)
		}
		if len(rs) == 0 {
			break
		}
		got, pos = append(got, lines(rs)...), rs[len(rs)-1].Pos
	}
	if !slices.Equal(got, m.records) {
		t.Fatalf("stream:\ngot  %q\nwant %q", got, m.records)
	}
}
