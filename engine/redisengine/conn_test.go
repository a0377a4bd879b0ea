package redisengine_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rhubarb-go/rhubarb/engine"
	"github.com/rhubarb-go/rhubarb/engine/redisengine"
)

// works uses an engine: a script, a message to all, a reply.
func works(t *testing.T, e *redisengine.Engine) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	f, err := e.Acquire(ctx, "l", "a", time.Minute)
	if err != nil {
		t.Fatalf("acquire: %v", err)
	}
	if err := e.Release(ctx, "l", f); err != nil {
		t.Fatalf("release: %v", err)
	}
	key := fmt.Sprint(time.Now().UnixNano()) // a mailbox has one reader
	for _, to := range []engine.Topic{{Exchange: "x"}, {Exchange: "x", Key: key, Direct: true}} {
		heard := next(t, e, to)
		if err := e.Broadcast(ctx, to, engine.Message{Body: []byte("news")}); err != nil {
			t.Fatalf("broadcast to %+v: %v", to, err)
		}
		if m := <-heard; string(m.Body) != "news" {
			t.Errorf("%+v: heard %+v", to, m)
		}
	}
}

func TestConnectionsWork(t *testing.T) {
	t.Parallel()
	c := newCertificates(t)
	path := filepath.Join(shortDir(t), "s")
	s := startRedis(t, append(c.serverArgs(freePort(t)), "--unixsocket", path, "--requirepass", "p/w",
		"--user", "worker", "on", ">s@cret", "~*", "&*", "+@all")...)
	tls := fmt.Sprintf("127.0.0.1:%d", c.port)
	for name, url := range map[string]string{
		"password":            "redis://:p%2Fw@" + s.addr() + "/1",
		"user":                "redis://worker:s%40cret@" + s.addr(),
		"socket":              "redis+socket://" + path + "?virtual_host=1",
		"unix":                "unix://" + path,
		"RESP2":               "redis://worker:s%40cret@" + s.addr() + "?protocol=2",
		"TLS":                 "rediss://worker:s%40cret@" + tls + "?ssl_ca_certs=" + c.ca + "&" + c.client(),
		"TLS without the CA":  "rediss://worker:s%40cret@" + tls + "?ssl_cert_reqs=CERT_NONE&" + c.client(),
		"TLS of another name": "rediss://worker:s%40cret@localhost:" + fmt.Sprint(c.port) + "?ssl_check_hostname=false&ssl_ca_certs=" + c.ca + "&" + c.client(),
	} {
		t.Run(name, func(t *testing.T) {
			if strings.Contains(url, path) {
				url = strings.Replace(url, "://", "://:p%2Fw@", 1)
			}
			works(t, connect(t, url))
		})
	}
}

func TestErrorsOfConnectingSayWhereAndWhatToDo(t *testing.T) {
	t.Parallel()
	c := newCertificates(t)
	s := startRedis(t, append(c.serverArgs(freePort(t)), "--requirepass", "other")...)
	open := startRedis(t)
	tls := fmt.Sprintf("127.0.0.1:%d", c.port)
	free := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	for _, tt := range []struct{ name, url, at, todo string }{
		{"nobody listens", "redis://:secret@" + free, free, "connection refused: is it running there?"},
		{"no such host", "redis://:secret@nowhere.invalid", "nowhere.invalid:6379", ""},
		{"no socket", "redis+socket://:secret@/nowhere/s", "/nowhere/s", "with unixsocket set to this path?"},
		{"wrong password", "redis://:secret@" + s.addr(), s.addr(), "check user and password"},
		{"no password", "redis://" + s.addr(), s.addr(), "write redis://:PASSWORD@host"},
		{"no such database", "redis://" + open.addr() + "/99", open.addr(), "it has fewer databases"},
		{"TLS to none", "rediss://:secret@" + open.addr(), open.addr(), ""},
		{"none to TLS", "redis://:secret@" + tls, tls, ""},
		{"an unknown authority", "rediss://:secret@" + tls + "?" + c.client(), tls, "name its authority with ssl_ca_certs"},
		{"another name", "rediss://:secret@localhost:" + fmt.Sprint(c.port) + "?ssl_ca_certs=" + c.ca, "localhost", "certificate is"},
		{"no CA file", "rediss://:secret@h?ssl_ca_certs=/nowhere", "h:6379", "ssl_ca_certs: open /nowhere"},
		{"no Sentinel", "sentinel://:secret@" + free + "?master_name=m&sentinel_password=secret", free, "is it running there?"},
		{"no cluster", "redis+cluster://:secret@" + free + "?global_keyprefix={a}", free, "is it running there?"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var log bytes.Buffer
			e, err := redisengine.Connect(t.Context(), tt.url, &redisengine.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
			if err == nil {
				e.Close()
				t.Fatal("it is connected")
			}
			said := err.Error()
			if !strings.HasPrefix(said, "redis: connect to ") || !strings.Contains(said, tt.at) || !strings.Contains(said, tt.todo) {
				t.Errorf("got %q, want %q and %q in it", said, tt.at, tt.todo)
			}
			if all := said + log.String(); strings.Contains(all, "secret") {
				t.Errorf("the password is told: %s", all)
			}
		})
	}
}

func TestInsecureTLSIsLogged(t *testing.T) {
	t.Parallel()
	c := newCertificates(t)
	startRedis(t, c.serverArgs(freePort(t))...)
	var log bytes.Buffer
	url := fmt.Sprintf("rediss://127.0.0.1:%d?ssl_cert_reqs=none&visibility_timeout=5&%s", c.port, c.client())
	e, err := redisengine.Connect(t.Context(), url, &redisengine.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	e.Close()
	for _, want := range []string{"level=WARN", "certificate is not checked", "option=visibility_timeout"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("logged %s, want %s in it", log.String(), want)
		}
	}
}

func TestConnectEndsWithItsContext(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0") // and nobody accepts
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	began := time.Now()
	if _, err := redisengine.Connect(ctx, "redis://"+l.Addr().String(), nil); err == nil || time.Since(began) > 4*time.Second {
		t.Errorf("after %v: got %v, want the end of the context, before that of socket_timeout", time.Since(began), err)
	}
	ctx, cancel = context.WithCancel(t.Context())
	cancel()
	if _, err := redisengine.Connect(ctx, "redis://"+l.Addr().String(), nil); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the end of the context", err)
	}
}

// A server that falls silent, as one behind a cable that is cut, is left for
// one that answers.
func TestASilentServerIsNoticed(t *testing.T) {
	t.Parallel()
	s := startRedis(t)
	e := connect(t, s.url()+"?socket_timeout=1")
	h, _ := listen(t, e, "c", false)
	s.proxy.freeze() // what is connected now hears nothing any more
	h.want(t, "again")
}

func TestAClusterWorks(t *testing.T) {
	t.Parallel()
	url := startCluster(t)
	e := connect(t, url)
	works(t, e)
	other := connect(t, url)
	heard := next(t, other, engine.Topic{Exchange: "ev", Key: "#"})
	if err := e.Broadcast(t.Context(), engine.Topic{Exchange: "ev", Key: "a.b"}, engine.Message{Body: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	if m := <-heard; string(m.Body) != "x" {
		t.Errorf("heard %+v", m)
	}
	node := strings.TrimPrefix(strings.Split(url, ",")[0], "redis+cluster://")
	_, err := redisengine.Connect(t.Context(), "redis://"+node, nil)
	if err == nil || !strings.Contains(err.Error(), "write redis+cluster://") {
		t.Errorf("a node of a cluster taken for a server: %v", err)
	}
}

func TestAMasterThatDiesIsFollowedByAnother(t *testing.T) {
	t.Parallel()
	master, url := startSentinel(t)
	var mu sync.Mutex
	var log bytes.Buffer
	e, err := redisengine.Connect(t.Context(), url, &redisengine.Options{Logger: slog.New(slog.NewTextHandler(&lockedWriter{&mu, &log}, nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	works(t, e)
	first, err := e.Acquire(t.Context(), "before", "a", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	h, _ := listen(t, e, "c", false)
	master.kill()
	h.want(t, "again")
	works(t, e)
	if f, err := e.Acquire(t.Context(), "after", "a", time.Minute); err != nil || f <= first {
		t.Errorf("fence went from %d to %d, %v", first, f, err)
	}
	mu.Lock()
	defer mu.Unlock()
	if strings.Contains(log.String(), "s3cret") {
		t.Errorf("the password is told: %s", log.String())
	}
}

type lockedWriter struct {
	mu *sync.Mutex
	w  *bytes.Buffer
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

// shortDir is for sockets, whose paths have at most 108 bytes.
func shortDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "rb")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}
