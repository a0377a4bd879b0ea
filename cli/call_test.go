package cli_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
)

func TestBadCallsAreUsageErrors(t *testing.T) {
	s := open(t)
	long := strings.Repeat("x", 256)
	for _, c := range []struct {
		name   string
		args   []string
		stderr string // a part of it
	}{
		{"no task", nil, `expected "<name>`},
		{"an unknown flag", []string{"math.add", "--contdown", "5s"}, "unknown flag --contdown"},
		{"a missing argument", []string{"math.add"}, "kwargs.a is required but missing"},
		{"a wrong type", []string{"math.add", "one"}, "args[0] must be an integer, got a string"},
		{"an argument it does not have", []string{"math.add", "1", "c=2"}, "kwargs.c is not an argument of this task"},
		{"a negative countdown", []string{"math.add", "1", "--countdown=-5s"}, "--countdown -5s is negative"},
		{"a countdown without a unit", []string{"math.add", "1", "--countdown=5"}, "--countdown: expected duration"},
		{"two times", []string{"math.add", "1", "--countdown=5s", "--eta=2030-01-01T00:00:00Z"}, "choose one"},
		{"a wrong eta", []string{"math.add", "1", "--eta=tomorrow"}, "--eta tomorrow is not a time"},
		{"a wrong expiry", []string{"math.add", "1", "--expires=0s"}, "--expires 0s is neither"},
		{"a wrong priority", []string{"math.add", "1", "--priority=10"}, "priority 10 is not between 0 and 9"},
		{"a long id", []string{"math.add", "1", "--id", long}, "the task id has 256 bytes"},
		{"a long queue", []string{"math.add", "1", "--queue", long}, "has 256 bytes, it needs 1 to 200"},
		{"a long key", []string{"math.add", "1", "--key", long}, "the idempotency key has 256 bytes"},
		{"a header of the protocol's", []string{"math.add", "1", "--header", "task=x"}, `header "task" belongs to the protocol`},
		{"args that are no array", []string{"math.add", "--args", "{}"}, "--args: {} is not a JSON array"},
		{"kwargs that are no JSON", []string{"math.add", "--kwargs", "{a:1}"}, "--kwargs: {a:1} is not a JSON object"},
		{"bytes that are not UTF-8", []string{"greet", "\xff"}, `"\xff" is not UTF-8`},
		{"a name with spaces", []string{"a b"}, "has spaces"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s.t = t
			exit, out, errs := s.run(append([]string{"call"}, c.args...)...)
			if exit != 2 || out != "" || !strings.Contains(errs, c.stderr) || strings.Count(errs, "\n") != 1 {
				t.Errorf("got exit %d, stdout %q, stderr %q, want 2 and one line with %q", exit, out, errs, c.stderr)
			}
		})
	}
	s.t = t
	s.want(0, "", "there are no queues yet\n", "queues")
}

func TestCallPrintsTheID(t *testing.T) {
	s := open(t)
	s.want(0, "one\n", "", "call", "math.add", "1", "--id", "one", "--key", "k")
	s.want(0, "one\n", "an earlier call has the key \"k\": this is its id\n", "call", "math.add", "1", "--key", "k")
	s.want(0, `{"duplicate":true,"id":"one"}`+"\n", "", "call", "math.add", "1", "--key", "k", "--json")
	s.want(0, "two\n", "", "call", "not.ours", "1", "x=y", "--id", "two", "--queue", "other", "--countdown", "1h")
}

func TestCallWaitPrintsTheResult(t *testing.T) {
	s := open(t)
	s.work()
	s.want(0, "3\n", "", "call", "math.add", "1", "2", "--wait")
	s.want(0, "3\n", "", "call", "math.add", "a=1", "b=2", "--wait")
	s.want(0, "4\n", "", "call", "math.add", "--args", "[1]", "--kwargs", `{"b": 3}`, "-w")
	s.want(0, "-3\n", "", "call", "math.add", "--wait", "--", "-5", "2")
	s.want(0, "hello Ada\n", "", "call", "greet", "Ada", "--wait")
	s.want(0, "hello 12\n", "", "call", "greet", "12", "--wait")
	s.want(0, "hello 12\n", "", "call", "greet", `"12"`, "--wait")
	s.want(0, "hello a=b\n", "", "call", "greet", "name=a=b", "--wait")
	s.want(1, "", "app: task f1 is FAILURE: Error: no luck\n", "call", "fail", "--id", "f1", "--wait")

	exit, out, errs := s.run("call", "fail", "--wait", "--json", "--id", "f2")
	var got struct {
		ID, Status string
		Error      struct{ Message string }
	}
	if err := json.Unmarshal([]byte(out), &got); err != nil || exit != 1 || errs != "" || got.Status != "FAILURE" || got.Error.Message != "no luck" {
		t.Errorf("got exit %d, %q, %q: %v", exit, out, errs, err)
	}
}

func TestWaitGivesUpAndTheTaskGoesOn(t *testing.T) {
	s := open(t)
	s.want(1, "", "app: task slow is not over yet: it goes on, ask again with result slow\n",
		"call", "math.add", "1", "--id", "slow", "--wait", "--timeout", "10ms")
}

func TestInterruptIs130(t *testing.T) {
	s := open(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, args := range [][]string{{"result", "x", "--wait"}, {"tail", "x"}} {
		out, errs := watched(), watched()
		if exit := s.p.Run(ctx, args, out, errs); exit != 130 || errs.String() != "" {
			t.Errorf("app %v: got exit %d, stderr %q, want 130 and silence", args, exit, errs)
		}
	}
}

func TestFollowShowsTheStreamAndTheResult(t *testing.T) {
	s := open(t)
	s.work()
	s.want(0, "one \nprogress 1 of 2\ntwo\nprogress 2 of 2\n{\"words\":2}\nsaid\n", "",
		"call", "talk", `["one ", "two"]`, "--follow", "--id", "t1")
	s.want(0, "RETRY Error: try again\nattempt 2: what came before is void\nsecond time lucky\ndone\n", "",
		"call", "flaky", "--follow", "--id", "t2")
	s.want(1, "", "app: task t3 is FAILURE: Error: no luck\n", "call", "fail", "--follow", "--id", "t3")
}

func TestTailGoesOnFromAnyPosition(t *testing.T) {
	s := open(t)
	s.work()
	s.run("call", "talk", `["one", "two"]`, "--wait", "--id", "t1")
	exit, out, _ := s.run("tail", "t1", "--json")
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if exit != 0 || len(lines) < 6 {
		t.Fatalf("got exit %d and %d records, want 0 and at least 6:\n%s", exit, len(lines), out)
	}
	var kinds []string
	for i, line := range lines {
		var r struct{ Position, Kind string }
		if err := json.Unmarshal([]byte(line), &r); err != nil || r.Position == "" {
			t.Fatalf("record %q: %v", line, err)
		}
		kinds = append(kinds, r.Kind)
		rest := ""
		if i+1 < len(lines) {
			rest = strings.Join(lines[i+1:], "\n") + "\n"
		}
		s.want(0, rest, "", "tail", "t1", "--json", "--from", r.Position)
	}
	if kinds[0] != "reset" || kinds[len(kinds)-1] != "end" {
		t.Errorf("kinds: got %v, want reset first and end last", kinds)
	}
	s.want(2, "", "app: --from nonsense is not a position of this task's stream: leave it out to start over\n", "tail", "t1", "--from", "nonsense")
}
