package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// redisPolicies are the ways Redis may keep its data.
var redisPolicies = map[string]struct {
	args []string
	text string
}{
	"default": {
		[]string{"--save", "3600 1 300 100 60 10000", "--appendonly", "no"},
		"Redis defaults: snapshots only (save 3600 1 300 100 60 10000), no log, no fsync per write; a crash loses minutes",
	},
	"everysec": {
		[]string{"--save", "", "--appendonly", "yes", "--appendfsync", "everysec"},
		"Redis append-only file, written before the answer, fsync every second",
	},
	"always": {
		[]string{"--save", "", "--appendonly", "yes", "--appendfsync", "always"},
		"Redis append-only file, fsync before the answer",
	},
}

// redisServer is a Redis of our own on a free port.
type redisServer struct {
	cmd    *exec.Cmd
	addr   string
	policy string
}

func startRedis(ctx context.Context, dir, policy string) (*redisServer, error) {
	p, ok := redisPolicies[policy]
	if !ok {
		return nil, fmt.Errorf("no Redis policy is named %q", policy)
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	args := append([]string{"--bind", "127.0.0.1", "--port", port, "--dir", dir}, p.args...)
	cmd := exec.Command("redis-server", args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	log, err := os.Create(filepath.Join(dir, "redis.log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start redis-server: %w", err)
	}
	r := &redisServer{cmd: cmd, addr: "127.0.0.1:" + port, policy: p.text}
	if err := r.wait(ctx); err != nil {
		r.stop() //nolint:errcheck // the other error says more
		return nil, err
	}
	return r, nil
}

// wait returns when the server accepts connections.
func (r *redisServer) wait(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for {
		c, err := net.Dial("tcp", r.addr)
		if err == nil {
			return c.Close()
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("redis-server does not answer: %w", err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (r *redisServer) pid() int { return r.cmd.Process.Pid }

func (r *redisServer) stop() error {
	if err := r.cmd.Process.Kill(); err != nil {
		return err
	}
	r.cmd.Wait() //nolint:errcheck // it was killed and says so
	return nil
}

func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	return port, err
}
