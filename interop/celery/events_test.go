package celery_test

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// What each event has, as celery/events writes it, and local_received, which
// the receiver adds.
var (
	commonFields = "clock hostname local_received pid timestamp type utcoffset uuid"
	eventFields  = map[string]string{
		"task-sent":      "args eta exchange expires kwargs name parent_id queue retries root_id routing_key",
		"task-received":  "args eta expires kwargs name parent_id retries root_id",
		"task-started":   "",
		"task-succeeded": "result runtime",
		"task-failed":    "exception traceback",
		"task-retried":   "exception traceback",
		"task-rejected":  "requeue",
		"task-revoked":   "expired signum terminated",
	}
)

// heard checks that these events, written without "task-", came of a call, in
// this order, and that each has what it should have. One with a question mark
// may be missing.
func (r *run) heard(c *call, want string) {
	r.Helper()
	if r.to == golang && c != r.call { // a worker of ours does not say that it sends what follows
		want = strings.ReplaceAll(want, "sent", "sent?")
	}
	sure := slices.DeleteFunc(strings.Fields(want), func(e string) bool { return strings.HasSuffix(e, "?") })
	events := r.listen(c, strings.Join(sure, " "))
	var got []string
	for _, e := range events {
		kind := strings.TrimPrefix(e.text("type"), "task-")
		got = append(got, kind)
		r.wellFormed(e)
	}
	if i := slices.Index(got, "sent"); i > 0 { // a client says so when it has sent, and a worker may be quicker
		got = append([]string{"sent"}, slices.Delete(got, i, i+1)...)
	}
	for e := range strings.FieldsSeq(want) {
		if name, ok := strings.CutSuffix(e, "?"); ok && slices.Contains(got, name) {
			want = strings.ReplaceAll(want, e, name)
		} else if ok {
			want = strings.Join(strings.Fields(strings.ReplaceAll(want, e, "")), " ")
		}
	}
	if strings.Contains(want, "retried") { // it may come after what follows it
		slices.Sort(got)
		want = strings.Join(sorted(strings.Fields(want)), " ")
	}
	if g := strings.Join(got, " "); g != want {
		r.Errorf("events of %s: %s, want %s", c.Task, g, want)
	}
}

// listen waits until these events of a call were heard, and returns all.
func (r *run) listen(c *call, want string) []event {
	r.Helper()
	need := map[string]int{}
	for e := range strings.FieldsSeq(want) {
		need["task-"+e]++
	}
	ear := site.hears[r.direction.from]
	if ear == nil {
		ear = site.hears[python]
	}
	for {
		events, more := ear.heard(c.ID)
		if events = once(events); hold(events, need) {
			return events
		}
		select {
		case <-more:
		case <-r.ctx.Done():
			var got []string
			for _, e := range events {
				got = append(got, e.text("type")+" of "+e.text("hostname"))
			}
			r.Fatalf("heard %q of %s, want %s", got, c.Task, want)
		}
	}
}

// hold reports whether there are as many events of each type.
func hold(events []event, need map[string]int) bool {
	left := maps.Clone(need)
	for _, e := range events {
		left[e.text("type")]--
	}
	for _, n := range left {
		if n > 0 {
			return false
		}
	}
	return true
}

// once leaves out what Celery's workers say again: sent, when they send a task
// again for a retry, and failed, after a hard limit.
func once(events []event) []event {
	said := map[string]bool{}
	return slices.DeleteFunc(events, func(e event) bool {
		typ := e.text("type")
		again := said[typ] && (typ == "task-sent" || typ == "task-failed")
		said[typ] = true
		return again
	})
}

func (r *run) wellFormed(e event) {
	r.Helper()
	typ := e.text("type")
	fields := eventFields[typ]
	if typ == "task-sent" && r.call.Protocol == 1 { // which has no such headers
		fields = strings.NewReplacer("parent_id ", "", "root_id ", "").Replace(fields)
	}
	want := sorted(strings.Fields(commonFields + " " + fields))
	if got := slices.Sorted(maps.Keys(e)); !slices.Equal(got, want) {
		r.Errorf("event %s has %q, want %q", typ, got, want)
	}
	host := e.text("hostname")
	if typ == "task-sent" && !strings.HasPrefix(host, "gen") || typ != "task-sent" && host != r.node() {
		r.Errorf("event %s is from %q, want %s", typ, host, r.node())
	}
	pid, _ := e["pid"].(float64)
	clock, _ := e["clock"].(float64)
	at, _ := e["timestamp"].(float64)
	if age := time.Since(time.UnixMicro(int64(at * 1e6))); pid < 1 || clock < 1 || age < 0 || age > 10*patience {
		r.Errorf("event %s has pid %v, clock %v and is %v old", typ, pid, clock, age)
	}
}
