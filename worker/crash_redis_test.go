package worker_test

import (
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/redis/rueidis"

	"github.com/rhubarb-go/rhubarb"
	"github.com/rhubarb-go/rhubarb/engine/redisengine"
	"github.com/rhubarb-go/rhubarb/interop"
)

// startRedis starts a server with an append-only file and returns its URL.
func startRedis(t *testing.T) string {
	t.Helper()
	path := interop.Find(t, "redis-server")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	l.Close() //nolint:errcheck // only its number is wanted
	cmd := exec.Command(path, "--port", fmt.Sprint(port), "--bind", "127.0.0.1", "--dir", t.TempDir(), "--save", "", "--appendonly", "yes", "--appendfsync", "no")
	p, _, err := interop.Start(cmd, regexp.MustCompile("Ready to accept connections"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Kill() }) //nolint:errcheck // it ends as it is told
	return fmt.Sprintf("redis://127.0.0.1:%d", port)
}

// TestKill9UnderLoadOnRedis is TestKill9UnderLoad on Redis. With
// RHUBARB_FAULTS=long it has fifty kills, else twelve.
func TestKill9UnderLoadOnRedis(t *testing.T) {
	storms, kills := 2, 6
	if os.Getenv("RHUBARB_FAULTS") == "long" {
		storms, kills = 2, 25
	}
	url := startRedis(t)
	eng, err := redisengine.Connect(t.Context(), url, &redisengine.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer eng.Close()
	app := must(rhubarb.New(eng.Set(), nil))(t)
	f := newFleet(t, url, filepath.Join(t.TempDir(), "runs"))
	ids := f.storms(app, storms, kills)

	// What Go holds is nothing that a Python worker would give out again after
	// its visibility timeout. kombu/transport/redis.py unacked_key.
	c := must(rueidis.NewClient(must(rueidis.ParseURL(url))(t)))(t)
	defer c.Close()
	if keys, err := c.Do(t.Context(), c.B().Keys().Pattern("*unacked*").Build()).AsStrSlice(); err != nil || len(keys) > 0 {
		t.Errorf("keys of kombu's bookkeeping: %v, %v; want none", keys, err)
	}
	if n := len(ids); n < 500 {
		t.Errorf("%d tasks, too few to prove anything", n)
	}
}
