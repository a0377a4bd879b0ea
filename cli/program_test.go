package cli_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/rhubarb-go/rhubarb"
	"github.com/rhubarb-go/rhubarb/cli"
	"github.com/rhubarb-go/rhubarb/engine"
)

func TestHelpAndVersion(t *testing.T) {
	s := open(t)
	s.want(0, "app v1.2.3\n", "", "--version")
	exit, out, errs := s.run("--help")
	for _, want := range []string{"Usage: app <command>", "--url", "worker", "serve", "call", "result", "tail", "queues", "dead", "parked", "purge", "revoke"} {
		if !strings.Contains(out, want) {
			t.Errorf("help has no %q:\n%s", want, out)
		}
	}
	if exit != 0 || errs != "" {
		t.Errorf("help: got exit %d, stderr %q", exit, errs)
	}
	exit, _, errs = s.run("wrk")
	if exit != 2 || !strings.Contains(errs, "unexpected argument wrk") {
		t.Errorf("an unknown subcommand: got exit %d, %q", exit, errs)
	}
	exit, _, errs = s.run("queues", "--log-level", "loud", "--json")
	if exit != 2 || !strings.HasPrefix(errs, `{"error":"`) {
		t.Errorf("a wrong flag with --json: got exit %d, %q", exit, errs)
	}
}

func TestEngineThatCannotBeOpenedIsExit3InOneLine(t *testing.T) {
	var url, dir string
	p := cli.Program{Name: "app", Open: func(_ context.Context, u, d string, _ *slog.Logger) (engine.Set, io.Closer, error) {
		url, dir = u, d
		return engine.Set{}, nil, errors.New("the data directory x is corrupt:\n  restore it")
	}}
	t.Setenv("RHUBARB_URL", "") // so that the test puts back what it removes
	if err := os.Unsetenv("RHUBARB_URL"); err != nil {
		t.Fatal(err)
	}
	t.Setenv("CELERY_BROKER_URL", "nats://broker.example")
	s := &shell{t: t, p: p}
	s.want(3, "", "app: the data directory x is corrupt: restore it\n", "queues", "--data", "there")
	if url != "nats://broker.example" || dir != "there" {
		t.Errorf("opened %q in %q, want what CELERY_BROKER_URL and --data say", url, dir)
	}
	s.want(3, "", `{"error":"the data directory x is corrupt: restore it","exit":3}`+"\n", "queues", "--json", "--url", "mem:")
	if url != "mem:" || dir != "rhubarb-data" {
		t.Errorf("opened %q in %q, want what --url says and the default", url, dir)
	}
}

func TestClosedEngineIsExit3(t *testing.T) {
	s := open(t)
	if err := s.engine.Broker.Close(); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"queues"}, {"call", "math.add", "1"}, {"result", "x"}, {"dead", "list"}, {"purge", "x", "--yes"}, {"revoke", "x"}, {"tail", "x"}, {"result", "x", "--wait"}} {
		if exit, _, errs := s.run(args...); exit != 3 || !strings.Contains(errs, engine.ErrClosed.Error()) {
			t.Errorf("app %v: got exit %d, %q, want 3 and that the engine is closed", args, exit, errs)
		}
	}
}

// hello is a subcommand of a program's own.
type hello struct {
	Name string `arg:"" help:"Whom to greet."`
}

func (h *hello) Run(ctx context.Context, env *cli.Env) error {
	if _, err := env.App(ctx); err != nil {
		return err
	}
	_, err := io.WriteString(env.Stdout, "hello "+h.Name+" from "+env.Name+"\n")
	return errors.Join(err, cli.Exit(7, nil))
}

func TestCommandsOfAProgramsOwn(t *testing.T) {
	s := open(t)
	s.p.Commands = []cli.Command{{Name: "hello", Help: "Greet.", Cmd: &hello{}}}
	s.want(7, "hello Ada from app\n", "", "hello", "Ada")
}

func TestWorkerRunsTheProgramsTasks(t *testing.T) {
	s := open(t)
	ctx, stop := context.WithCancel(t.Context())
	out, errs := watched(), watched()
	exit := make(chan int, 1)
	go func() { exit <- s.p.Run(ctx, []string{"worker", "--concurrency", "2", "--node", "w1"}, out, errs) }()
	errs.has(t, "worker started")
	s.want(0, "3\n", "", "call", "math.add", "1", "2", "--wait")
	stop()
	if got := <-exit; got != 0 || !strings.Contains(errs.String(), "worker stopped") {
		t.Errorf("got exit %d, %q, want 0 after a soft stop", got, errs)
	}
	s.p.Tasks = nil
	s.want(2, "", "app: this program has no tasks to run: give them to cli.Main in your own program\n", "worker")
	s.p.Tasks = tasks
	s.want(2, "", "app: worker: new: concurrency -1 is negative\n", "worker", "--concurrency=-1")
}

func TestWorkerKeepsWhatItIsToldWithResults(t *testing.T) {
	s := open(t)
	seen := make(chan struct{})
	wait := rhubarb.Define("wait", func(ctx context.Context, _ rhubarb.None) (string, error) {
		select {
		case <-seen:
			return "done", nil
		case <-ctx.Done():
			return "", ctx.Err()
		}
	})
	s.p.Tasks = []rhubarb.Runnable{wait}
	ctx, stop := context.WithCancel(t.Context())
	exit := make(chan int, 1)
	go func() {
		exit <- s.p.Run(ctx, []string{"worker", "--node", "w1@site", "--track-started", "--extended-results"}, io.Discard, io.Discard)
	}()
	res, err := wait.Delay(t.Context(), s.app, rhubarb.None{})
	if err != nil {
		t.Fatal(err)
	}
	records := map[string]string{}
	soon, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for state, err := range res.Watch(soon) {
		if err != nil {
			t.Fatal(err)
		}
		if len(state.Record) == 0 {
			continue
		}
		if records[state.Status] = string(state.Record); state.Status == engine.Started {
			close(seen)
		}
	}
	for status, part := range map[string]string{engine.Started: `"hostname":"w1@site"`, engine.Success: `"name":"wait"`} {
		if !strings.Contains(records[status], part) {
			t.Errorf("the record of %s is %q, want %s in it", status, records[status], part)
		}
	}
	stop()
	if got := <-exit; got != 0 {
		t.Errorf("got exit %d, want 0 after a soft stop", got)
	}
}

func TestServeAnswersUntilItIsStopped(t *testing.T) {
	s := open(t)
	ctx, stop := context.WithCancel(t.Context())
	errs := watched()
	exit := make(chan int, 1)
	go func() { exit <- s.p.Run(ctx, []string{"serve", "--addr", "127.0.0.1:0", "--worker"}, io.Discard, errs) }()
	errs.has(t, "worker started")
	url := regexp.MustCompile(`http://127\.0\.0\.1:\d+`).FindString(errs.has(t, "msg=serving url="))

	res := fetch(t, "POST", url+"/tasks/math.add", `{"args":[1,2]}`)
	if res.StatusCode != http.StatusAccepted {
		t.Errorf("call: got %d", res.StatusCode)
	}
	if res := fetch(t, "GET", url+res.Header.Get("Location")+"?wait=20s", ""); !strings.Contains(res.body, `"result":3`) {
		t.Errorf("state: got %s", res.body)
	}
	hang := make(chan struct{})
	go func() { // a stream that has no end of its own: the stop ends it
		defer close(hang)
		fetch(t, "GET", url+"/tasks/never/events", "")
	}()
	stop()
	if got := <-exit; got != 0 {
		t.Errorf("got exit %d, %q, want 0 after a soft stop", got, errs)
	}
	<-hang
}

type response struct {
	*http.Response
	body string
}

func fetch(t *testing.T, method, url, body string) response {
	t.Helper()
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Error(err)
		return response{Response: &http.Response{}}
	}
	req.Header.Set("Content-Type", "application/json")
	return do(t, req)
}

func do(t *testing.T, req *http.Request) response {
	t.Helper()
	tr := &http.Transport{DisableKeepAlives: true}
	res, err := tr.RoundTrip(req)
	if err != nil { // the server may be gone already
		return response{Response: &http.Response{}}
	}
	defer res.Body.Close()
	raw, _ := io.ReadAll(res.Body) // a stream may be cut
	return response{res, string(raw)}
}

func TestServeNamesTheAddressThatIsInUse(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	s := open(t)
	addr := ln.Addr().String()
	s.want(1, "", "app: the address "+addr+" is in use: stop the program that listens there or choose another with --addr\n", "serve", "--addr", addr)
	exit, _, errs := s.run("serve", "--addr", "nowhere")
	if exit != 2 || !strings.Contains(errs, "--addr nowhere") {
		t.Errorf("a wrong address: got exit %d, %q", exit, errs)
	}
	exit, _, errs = s.run("serve", "--origin", "example.org")
	if exit != 2 || !strings.Contains(errs, `origin "example.org"`) {
		t.Errorf("a wrong origin: got exit %d, %q", exit, errs)
	}
}
