package worker_test

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rhubarb-go/rhubarb"
	"github.com/rhubarb-go/rhubarb/engine"
	"github.com/rhubarb-go/rhubarb/engine/dial"
	"github.com/rhubarb-go/rhubarb/engine/embedded"
	"github.com/rhubarb-go/rhubarb/worker"
)

// A child of this test is a worker process of its own: the test binary again,
// with these set.
const (
	envChild = "RHUBARB_CRASH_CHILD" // the URL of the engine
	envLog   = "RHUBARB_CRASH_LOG"   // where runs are written down
)

type job struct {
	N int `json:"n"`
}

// crashWork writes down when it starts and ends, one line each, which the
// kernel appends whole.
func crashWork(log *os.File) *rhubarb.Task[job, int] {
	return rhubarb.Define("crash.work", func(ctx context.Context, j job) (int, error) {
		inv := rhubarb.Current(ctx)
		note := func(what string) {
			fmt.Fprintf(log, "%s %d %d %d %d\n", what, j.N, inv.Attempt, os.Getpid(), time.Now().UnixNano())
		}
		note("start")
		if err := rhubarb.Emit(ctx, inv.Attempt); err != nil {
			return 0, err
		}
		select {
		case <-time.After(time.Duration(5+rand.IntN(60)) * time.Millisecond):
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
		note("end")
		return 2 * j.N, nil
	})
}

// crashChild is the whole life of a worker process.
func crashChild(url string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	log, err := os.OpenFile(os.Getenv(envLog), os.O_APPEND|os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	quiet := slog.New(slog.DiscardHandler)
	set, closed, err := dial.Dial(ctx, url, &dial.Options{Logger: quiet})
	if err != nil {
		return err
	}
	defer closed() //nolint:errcheck // the process ends
	app, err := rhubarb.New(set, nil)
	if err != nil {
		return err
	}
	w, err := worker.New(app, []rhubarb.Runnable{crashWork(log)}, &worker.Options{Concurrency: 20, Logger: quiet})
	if err != nil {
		return err
	}
	return w.Run(ctx)
}

// fleet keeps worker processes alive, and kills them.
type fleet struct {
	t        *testing.T
	url, log string

	mu     sync.Mutex
	procs  []*exec.Cmd
	killed map[int]time.Time // pid to the moment it was dead
}

func (f *fleet) spawn() *exec.Cmd {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), envChild+"="+f.url, envLog+"="+f.log)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		f.t.Fatal(err)
	}
	return cmd
}

// kill ends one process with SIGKILL and starts another in its place.
func (f *fleet) kill() {
	f.mu.Lock()
	defer f.mu.Unlock()
	i := rand.IntN(len(f.procs))
	victim := f.procs[i]
	if err := victim.Process.Kill(); err != nil {
		f.t.Errorf("kill: %v", err)
	}
	victim.Wait() //nolint:errcheck // it was killed, and says so
	f.killed[victim.Process.Pid] = time.Now()
	f.procs[i] = f.spawn()
}

func (f *fleet) stop() {
	for _, p := range f.procs {
		p.Process.Signal(syscall.SIGTERM) //nolint:errcheck // Wait tells how it ended
		if err := p.Wait(); err != nil {
			f.t.Errorf("a worker that was asked to stop: %v", err)
		}
	}
}

type started struct {
	attempt, pid int
	at           time.Time
}

func (f *fleet) runs() map[int][]started {
	f.t.Helper()
	file, err := os.Open(f.log)
	if err != nil {
		f.t.Fatal(err)
	}
	defer file.Close()
	out := map[int][]started{}
	for lines := bufio.NewScanner(file); lines.Scan(); {
		var what string
		var n, attempt, pid int
		var ns int64
		if _, err := fmt.Sscan(lines.Text(), &what, &n, &attempt, &pid, &ns); err != nil {
			f.t.Fatalf("line %q: %v", lines.Text(), err)
		}
		if what == "start" {
			out[n] = append(out[n], started{attempt, pid, time.Unix(0, ns)})
		}
	}
	return out
}

// mercy is how long a killed worker's task may take to run again.
const mercy = 10 * time.Second

// TestKill9UnderLoad kills fifty worker processes under load, in two storms
// with a calm between them. No task may be lost, each must run again within
// ten seconds of the storm that hit it, none may be given to two live workers,
// and every stream must have one end. (Within a storm the process that was
// just given a dead one's task may be killed before it starts it.)
func TestKill9UnderLoad(t *testing.T) {
	storms, kills := 2, 25
	if testing.Short() {
		storms, kills = 1, 5
	}
	dir := t.TempDir()
	eng, err := embedded.Open(t.Context(), filepath.Join(dir, "data"), &embedded.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer eng.Close()
	app := must(rhubarb.New(engine.All(eng), nil))(t)
	newFleet(t, "file:"+filepath.Join(dir, "data"), filepath.Join(dir, "runs")).storms(app, storms, kills)
}

// newFleet starts three workers.
func newFleet(t *testing.T, url, log string) *fleet {
	t.Helper()
	f := &fleet{t: t, url: url, log: log, killed: map[int]time.Time{}}
	f.procs = []*exec.Cmd{f.spawn(), f.spawn(), f.spawn()}
	t.Cleanup(f.stop)
	return f
}

// storms has the fleet work, kills, and checks what became of every task.
func (f *fleet) storms(app *rhubarb.App, storms, kills int) (ids []string) {
	t := f.t
	t.Helper()
	work := crashWork(nil)
	send := func(d time.Duration) {
		for until := time.Now().Add(d); time.Now().Before(until); {
			res := must(work.Delay(t.Context(), app, job{len(ids)}))(t)
			ids = append(ids, res.ID())
			if len(ids)%8 == 0 {
				<-time.After(10 * time.Millisecond) // load, not a flood: 800 tasks a second at most
			}
		}
	}
	var ends []time.Time // of storms
	for range storms {
		if len(ends) > 0 {
			<-time.After(mercy)
		}
		for range kills {
			send(300 * time.Millisecond)
			f.kill()
		}
		ends = append(ends, time.Now())
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for n, id := range ids {
		got, err := rhubarb.ResultOf[int](app, id).Get(ctx)
		if err != nil || got != 2*n {
			t.Fatalf("task %d of %d: %d, %v; want %d", n, len(ids), got, err, 2*n)
		}
	}
	f.checkRuns(ends)
	checkStreams(t, app, ids)
	return ids
}

// checkRuns holds every run against the deaths before it.
func (f *fleet) checkRuns(storms []time.Time) {
	t := f.t
	t.Helper()
	again, within, worst := 0, 0, time.Duration(0)
	for n, runs := range f.runs() {
		for i := 1; i < len(runs); i++ {
			again++
			died, ok := f.killed[runs[i-1].pid]
			if !ok || died.After(runs[i].at.Add(50*time.Millisecond)) { // the kill is noted after the fact
				t.Errorf("task %d was given out again while its worker lived: %+v", n, runs)
				continue
			}
			if d := runs[i].at.Sub(died); d <= mercy {
				within++
				worst = max(worst, d)
			}
			storm := slices.IndexFunc(storms, func(end time.Time) bool { return !died.After(end) })
			if d := runs[i].at.Sub(storms[storm]); d > mercy {
				t.Errorf("task %d ran again %v after the storm that killed its worker; want %v at most", n, d, mercy)
			}
		}
	}
	if again == 0 {
		t.Error("no task ran twice: the kills hit nothing, so this proves nothing")
	}
	t.Logf("%d kills, %d runs again; %d of them within %v of their worker's death (the others were hit twice)", len(f.killed), again, within, worst.Round(time.Millisecond))
}

func checkStreams(t *testing.T, app *rhubarb.App, ids []string) {
	t.Helper()
	for n, id := range ids {
		var kinds []string
		for rec, err := range app.Result(id).Stream().Tail(t.Context(), "") {
			if err != nil {
				t.Fatal(err)
			}
			kinds = append(kinds, string(rec.Kind))
		}
		all := strings.Join(kinds, " ")
		if strings.Count(all, "end") != 1 || !strings.HasSuffix(all, "reset data end") {
			t.Errorf("task %d: stream %q; want the last attempt whole and one end", n, all)
		}
	}
}
