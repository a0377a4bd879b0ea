package cli_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/rhubarb-go/rhubarb/engine"
)

func TestResultShowsTheState(t *testing.T) {
	s := open(t)
	s.want(0, "id      nobody\nstatus  PENDING\n", "", "result", "nobody")
	s.want(0, `{"id":"nobody","status":"PENDING","ready":false,"attempt":0}`+"\n", "", "result", "nobody", "--json")
	s.work()
	s.run("call", "math.add", "40", "2", "--id", "r1", "--wait")
	exit, out, errs := s.run("result", "r1")
	if exit != 0 || errs != "" || !strings.HasPrefix(out, "id       r1\nstatus   SUCCESS\nattempt  1\nsince    ") || !strings.HasSuffix(out, "\nresult   42\n") {
		t.Errorf("got exit %d, stderr %q and\n%s", exit, errs, out)
	}
	s.want(0, "42\n", "", "result", "r1", "--wait")
	s.run("call", "fail", "--id", "r2", "--wait")
	exit, out, errs = s.run("result", "r2")
	if exit != 1 || !strings.Contains(out, "status   FAILURE") || errs != "app: task r2 is FAILURE: Error: no luck\n" {
		t.Errorf("got exit %d, stderr %q and\n%s", exit, errs, out)
	}
	exit, _, errs = s.run("result", strings.Repeat("x", 256))
	if exit != 2 || !strings.Contains(errs, "has 256 bytes, it needs 1 to 255") {
		t.Errorf("a long id: got exit %d, %q", exit, errs)
	}
}

func TestRevokeStopsWhatWaits(t *testing.T) {
	s := open(t)
	s.run("call", "math.add", "1", "--id", "w1", "--countdown", "1h")
	s.want(0, "", "revoked 2 tasks\n", "revoke", "w1", "w2")
	s.want(1, "", "app: task w1 is REVOKED: TaskRevokedError: revoked\n", "result", "w1", "--wait")
	s.want(0, `{"revoked":["w3"]}`+"\n", "", "revoke", "w3", "--json")
}

func TestQueuesAndPurge(t *testing.T) {
	s := open(t)
	s.run("call", "math.add", "1", "--queue", "mail", "--id", "q1")
	s.run("call", "math.add", "1", "--queue", "mail", "--id", "q2", "--countdown", "1h")
	exit, out, _ := s.run("queues")
	lines := strings.Split(out, "\n")
	if exit != 0 || len(lines) != 3 || strings.Join(strings.Fields(lines[0]), " ") != "QUEUE READY DELAYED HELD OLDEST" ||
		!strings.HasPrefix(lines[1], "mail   1      1        0     ") {
		t.Errorf("queues: got exit %d and\n%s", exit, out)
	}
	exit, out, _ = s.run("queues", "--json")
	var q struct {
		Name           string
		Ready, Delayed int
	}
	if err := json.Unmarshal([]byte(out), &q); err != nil || exit != 0 || q.Name != "mail" || q.Ready != 1 || q.Delayed != 1 {
		t.Errorf("queues --json: got exit %d and %s", exit, out)
	}

	s.want(2, "", "app: Drop every message that waits in queue mail? Say so with --yes\n", "purge", "mail")
	s.p.Stdin = strings.NewReader("n\n")
	s.want(1, "", "Drop every message that waits in queue mail? [y/N] app: nothing was dropped\n", "purge", "mail")
	s.p.Stdin = strings.NewReader("y\n")
	s.want(0, "", "Drop every message that waits in queue mail? [y/N] dropped 2 messages from mail\n", "purge", "mail")
	s.want(0, `{"dropped":0,"queue":"mail"}`+"\n", "", "purge", "mail", "--yes", "--json")
}

func TestDeadMessagesCanBeSeenAndRunAgain(t *testing.T) {
	s := open(t)
	s.want(0, "", "there are no dead messages\n", "dead", "list")
	s.work()
	for _, id := range []string{"d1", "d2", "d3"} {
		s.want(1, "", "app: task "+id+" is REJECTED: Reject: not today\n", "call", "refuse", "--id", id, "--wait")
	}
	exit, out, _ := s.run("dead", "list", "--limit", "2")
	if lines := strings.Split(out, "\n"); exit != 0 || len(lines) != 4 || !strings.HasPrefix(lines[1], "d1  refuse  celery  1      ") ||
		!strings.HasSuffix(lines[1], "rejected by the task: not today") {
		t.Errorf("dead list: got exit %d and\n%s", exit, out)
	}
	exit, out, _ = s.run("dead", "show", "d2")
	if exit != 0 || !strings.Contains(out, "reason   rejected by the task: not today\n") || !strings.Contains(out, `"task":"refuse"`) {
		t.Errorf("dead show: got exit %d and\n%s", exit, out)
	}
	exit, out, _ = s.run("dead", "show", "d2", "--json")
	var doc struct {
		ID      string
		Headers struct{ Task string }
	}
	if err := json.Unmarshal([]byte(out), &doc); err != nil || exit != 0 || doc.ID != "d2" || doc.Headers.Task != "refuse" {
		t.Errorf("dead show --json: got exit %d and %s", exit, out)
	}
	s.want(1, "", "app: there is no dead message nope: see dead list\n", "dead", "show", "nope")
	s.want(1, "", "dropped 1 message\napp: there is no dead message nope: see dead list\n", "dead", "drop", "d3", "nope", "--yes")
	s.want(2, "", "app: name the ids, or say --all\n", "dead", "retry")
	s.want(0, "", "dropped 2 messages\n", "dead", "drop", "--all", "--yes")
	s.want(0, "", "there are no dead messages\n", "dead", "list")
}

func TestParkedMessagesCanBeReleased(t *testing.T) {
	s := open(t)
	s.run("call", "nobody.knows", "--id", "p1")
	s.park()
	exit, out, _ := s.run("parked", "list", "--json")
	var doc struct{ ID, Task, Reason string }
	if err := json.Unmarshal([]byte(out), &doc); err != nil || exit != 0 || doc.ID != "p1" || doc.Task != "nobody.knows" || doc.Reason != "unknown" {
		t.Errorf("parked list: got exit %d and %s", exit, out)
	}
	s.want(0, "", "released 1 message\n", "parked", "release", "p1")
	s.want(0, "", "there are no parked messages\n", "parked", "list")
	s.park()
	s.p.Stdin = strings.NewReader("yes\n")
	s.want(0, "", "Drop all parked messages for good? [y/N] dropped 1 message\n", "parked", "drop", "--all")
}

// park takes a message and parks it, as a worker does that does not know it.
func (s *shell) park() {
	s.t.Helper()
	r, err := s.engine.Broker.Receive(s.t.Context(), engine.ReceiveOptions{Queues: []string{"celery"}, Owner: "test"})
	if err != nil {
		s.t.Fatal(err)
	}
	defer r.Close()
	ds, err := r.Take(s.t.Context(), 1)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, err := range r.Settle(s.t.Context(), []engine.Settlement{{Delivery: ds[0], Verdict: engine.Park, Reason: "unknown"}}) {
		if err != nil {
			s.t.Fatal(err)
		}
	}
}
