package embedded

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// startServer serves the directory on the loopback interface.
func startServer(dir string, opts Options, sick chan<- struct{}) (*server.Server, info, error) {
	port := opts.Port
	if port == 0 {
		port = server.RANDOM_PORT
	} else if err := portFree(port); err != nil {
		return nil, info{}, err
	}
	i := info{Token: rand.Text(), PID: os.Getpid()}
	so := &server.Options{
		ServerName: "rhubarb", Host: "127.0.0.1", Port: port, Authorization: i.Token,
		NoSigs: true, NoSystemAccount: false, JetStream: true, StoreDir: filepath.Join(dir, dirStore),
		SyncAlways: opts.SyncAlways, SyncInterval: time.Minute, // what accepts messages is synced by a syncer
		JetStreamMaxStore:  opts.maxStore(),
		JetStreamMaxMemory: 64 << 20, MaxPayload: 4 << 20, MaxPending: 128 << 20, DisableShortFirstPing: true,
		JetStreamLimits: server.JSLimitOpts{DefaultMaxConsumers: 100_000},
	}
	s, err := server.NewServer(so)
	if err != nil {
		return nil, info{}, fmt.Errorf("embedded: server in %s: %w", dir, err)
	}
	log := &bridge{log: opts.Logger, sick: sick}
	s.SetLoggerV2(log, false, false, false)
	s.Start()
	if !s.ReadyForConnections(30 * time.Second) {
		s.Shutdown()
		s.WaitForShutdown()
		return nil, info{}, fmt.Errorf("embedded: the engine in %s does not start: %s", dir, log.last())
	}
	if !s.JetStreamEnabled() {
		s.Shutdown()
		s.WaitForShutdown()
		return nil, info{}, fmt.Errorf("embedded: the data in %s cannot be opened: %s", dir, log.last())
	}
	i.URL = s.ClientURL()
	if err := recovered(s, i, dir); err != nil {
		s.Shutdown()
		s.WaitForShutdown()
		return nil, info{}, err
	}
	return s, i, nil
}

// recovered compares what lies in the directory with what the server could
// open. It passes over what is damaged, and we would then make it anew, empty.
func recovered(s *server.Server, i info, dir string) error {
	entries, err := os.ReadDir(filepath.Join(dir, dirStore, "jetstream", server.DEFAULT_GLOBAL_ACCOUNT, "streams"))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("embedded: read data directory: %w", err)
	}
	nc, err := nats.Connect("", nats.InProcessServer(s), nats.Token(i.Token))
	if err != nil {
		return fmt.Errorf("embedded: server in %s: %w", dir, err)
	}
	defer nc.Close()
	js, err := nc.JetStream()
	if err != nil {
		return fmt.Errorf("embedded: server in %s: %w", dir, err)
	}
	have := map[string]bool{}
	for name := range js.StreamNames() {
		have[name] = true
	}
	for _, entry := range entries {
		if name := entry.Name(); strings.HasPrefix(name, "RB_") && !have[name] {
			return fmt.Errorf("embedded: the data in %s is damaged: %s cannot be opened. Restore the directory from a backup, or move it away to begin anew", dir, name)
		}
	}
	return nil
}

func portFree(port int) error {
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return fmt.Errorf("embedded: port %d is in use: choose another, or none: %w", port, err)
	}
	return l.Close()
}

// bridge hands the server's log to ours: what an operator should know, without
// its start-up chatter.
type bridge struct {
	log  *slog.Logger
	sick chan<- struct{} // told of every error
	said atomic.Pointer[string]
}

func (b *bridge) Noticef(string, ...any)            {}
func (b *bridge) Debugf(string, ...any)             {}
func (b *bridge) Tracef(string, ...any)             {}
func (b *bridge) Warnf(format string, args ...any)  { b.say(slog.LevelDebug, format, args) }
func (b *bridge) Errorf(format string, args ...any) { b.say(slog.LevelWarn, format, args) }
func (b *bridge) Fatalf(format string, args ...any) { b.say(slog.LevelError, format, args) }

func (b *bridge) say(level slog.Level, format string, args []any) {
	text := strings.TrimSpace(fmt.Sprintf(format, args...))
	if level >= slog.LevelWarn {
		b.said.Store(&text)
		select {
		case b.sick <- struct{}{}:
		default:
		}
	}
	b.log.Log(context.Background(), level, "embedded engine", "err", text) // a logger has no caller's context
}

func (b *bridge) last() string {
	if s := b.said.Load(); s != nil {
		return *s
	}
	return "the server gave no reason"
}
