package natsengine_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/rhubarb-go/rhubarb/engine"
	"github.com/rhubarb-go/rhubarb/engine/natsengine"
)

// A child of these tests is a worker process that kills itself at one point.
const (
	envURL   = "RHUBARB_TEST_URL"
	envPoint = "RHUBARB_TEST_POINT"
)

func message(id string) engine.Publication {
	return engine.Publication{Message: engine.Message{ID: id, Task: "t", Body: []byte("[[],{},{}]")}, Queue: "q"}
}

// dieAt does one thing with the task "a" and dies by SIGKILL at the point.
func dieAt(url, point string) error {
	ctx := context.Background()
	e, err := openFar(ctx, func() (*nats.Conn, error) { return nats.Connect(url) })
	if err != nil {
		return err
	}
	e.SetFault(func(at string) {
		if at == point {
			syscall.Kill(os.Getpid(), syscall.SIGKILL) //nolint:errcheck // nothing comes after it
			select {}
		}
	})
	switch point {
	case "key kept":
		p := message("a")
		p.Key, p.KeyTTL = "key", time.Hour
		return e.Publish(ctx, []engine.Publication{p})[0].Err
	case "brought near":
		p := message("a")
		p.At = time.Now().Add(4 * time.Second)
		if err := e.Publish(ctx, []engine.Publication{p})[0].Err; err != nil {
			return err
		}
		select {}
	case "freed", "restored":
		return e.Restore(ctx, engine.Dead, []string{"a"})[0]
	}
	r, err := e.Receive(ctx, engine.ReceiveOptions{Queues: []string{"q"}, Lease: time.Second})
	if err != nil {
		return err
	}
	ds, err := r.Take(ctx, 1)
	if err != nil {
		return err
	}
	st := engine.State{ID: "a", Status: engine.Success, Record: []byte(`{"status":"SUCCESS"}`)}
	follow := message("follow-up")
	if point == "retry shown" {
		st.Status, follow = engine.Retry, message("a")
		follow.Round = 1
	}
	return r.Settle(ctx, []engine.Settlement{{Delivery: ds[0], State: &st, Follow: []engine.Publication{follow}}})[0]
}

func killAt(t *testing.T, s *natsServer, point string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // kills as well, but then ctx is over
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), envURL+"=nats://"+s.proxy.addr, envPoint+"="+point)
	cmd.Stderr = os.Stderr
	err := cmd.Run()
	if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || ws.Signal() != syscall.SIGKILL || ctx.Err() != nil {
		t.Fatalf("the child did not die at %q: %v", point, err)
	}
}

// TestKilledBetweenAnyTwoSteps kills a process between two durable steps. Then
// everything must have happened once, or happen now.
func TestKilledBetweenAnyTwoSteps(t *testing.T) {
	cases := []struct {
		point string
		want  []string // what is handed out afterwards, in any order
		kinds string   // the stream of the task in the end
	}{
		{"claimed", []string{"a"}, "[reset reset end]"},
		{"settled", []string{"follow-up"}, "[reset end]"},
		{"followed", []string{"follow-up"}, "[reset end]"},
		{"finished", []string{"follow-up"}, "[reset end]"},
		{"retry shown", []string{"a"}, "[reset state reset end]"},
		{"key kept", []string{"a"}, "[reset end]"},
		{"freed", []string{"a"}, "[reset reset end]"},
		{"restored", []string{"a"}, "[reset reset end]"},
		{"brought near", []string{"a"}, "[reset end]"},
	}
	for _, c := range cases {
		t.Run(c.point, func(t *testing.T) {
			t.Parallel()
			s := startNATS(t)
			e := s.farEngine(t)
			prepareFault(t, e, c.point)
			if c.point == "brought near" { // the child is to do it
				e.Close() //nolint:errcheck // it has nothing open
			}
			killAt(t, s, c.point)
			if c.point == "brought near" {
				e = s.farEngine(t)
			}
			if c.point == "key kept" { // the caller tries again
				p := message("b")
				p.Key, p.KeyTTL = "key", time.Hour
				if r := e.Publish(t.Context(), []engine.Publication{p})[0]; r.Err != nil || r.ID != "a" {
					t.Fatalf("the second call: %+v", r)
				}
			}
			if c.point == "freed" { // the operator tries again
				if err := e.Restore(t.Context(), engine.Dead, []string{"a"})[0]; err != nil {
					t.Fatal(err)
				}
			}
			got := takeAll(t, e, len(c.want))
			if !slices.Equal(got, c.want) {
				t.Errorf("handed out %v; want %v", got, c.want)
			}
			if kinds := streamKinds(t, e, "a"); kinds != c.kinds {
				t.Errorf("stream %s; want %s", kinds, c.kinds)
			}
		})
	}
}

// prepareFault brings the task to where the child finds it.
func prepareFault(t *testing.T, e *natsengine.Engine, point string) {
	t.Helper()
	if point == "key kept" || point == "brought near" {
		return
	}
	if err := e.Publish(t.Context(), []engine.Publication{message("a")})[0].Err; err != nil {
		t.Fatal(err)
	}
	if point != "freed" && point != "restored" {
		return
	}
	r, err := e.Receive(t.Context(), engine.ReceiveOptions{Queues: []string{"q"}})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	ds, err := r.Take(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	st := engine.State{ID: "a", Status: engine.Failure, Record: []byte("{}")}
	if err := r.Settle(t.Context(), []engine.Settlement{{Delivery: ds[0], Verdict: engine.Bury, State: &st, Reason: "bad"}})[0]; err != nil {
		t.Fatal(err)
	}
}

// takeAll takes and settles n messages, and looks that there are no more.
func takeAll(t *testing.T, e *natsengine.Engine, n int) []string {
	t.Helper()
	r, err := e.Receive(t.Context(), engine.ReceiveOptions{Queues: []string{"q"}})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var got []string
	for wait := 12 * time.Second; ; wait = time.Second {
		ctx, cancel := context.WithTimeout(t.Context(), wait)
		if len(got) < n {
			cancel()
			ctx, cancel = context.WithTimeout(t.Context(), 12*time.Second)
		}
		ds, err := r.Take(ctx, 10)
		cancel()
		if err != nil {
			return got
		}
		for _, d := range ds {
			got = append(got, d.ID)
			st := engine.State{ID: d.ID, Status: engine.Success, Record: []byte(`{"status":"SUCCESS"}`)}
			if err := r.Settle(t.Context(), []engine.Settlement{{Delivery: d, State: &st}})[0]; err != nil {
				t.Fatal(err)
			}
		}
	}
}

func streamKinds(t *testing.T, e *natsengine.Engine, id string) string {
	t.Helper()
	recs, err := e.Read(t.Context(), id, "", 100)
	if err != nil {
		t.Fatal(err)
	}
	var kinds []engine.Kind
	for _, r := range recs {
		kinds = append(kinds, r.Kind)
	}
	return fmt.Sprint(kinds)
}
