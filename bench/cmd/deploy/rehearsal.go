package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"
)

// rehearsal is one run.
type rehearsal struct {
	options
	dir     string
	servers [2]*server
	balance *balancer
	groups  []*group
	clients []*client

	rollouts []rollout
}

// rollout is one restart of one server.
type rollout struct {
	name      string
	held      bool // the embedded engine
	open      int  // connections it had
	drain     time.Duration
	readyIn   time.Duration
	err       error // of the process that ended
	began     time.Time
	allBackIn time.Duration
}

// Limits of a run.
const (
	startWait  = 60 * time.Second
	attachWait = 2 * time.Minute
	promised   = 10 * time.Second // in which a client is back
	endWait    = 3 * promised     // for what is late to be counted as such
)

// rehearse runs servers, clients and load, and restarts the servers.
func rehearse(ctx context.Context, o options) (*verdict, error) {
	dir, err := os.MkdirTemp("", "rhubarb-deploy")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	r := &rehearsal{options: o, dir: dir}
	ctx, cancel := context.WithCancel(ctx)
	var work sync.WaitGroup
	defer work.Wait()
	defer cancel()
	end, err := r.serve(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	r.balance = newBalancer(r.servers[0].addr, r.servers[1].addr)
	work.Go(func() { r.balance.run(ctx) })
	for _, s := range r.servers {
		work.Go(func() { s.watch(ctx) })
	}
	r.gather(ctx, &work)
	if err := r.wait(ctx, attachWait); err != nil {
		return nil, err
	}
	load, endLoad := context.WithCancel(ctx)
	defer endLoad()
	var publishers sync.WaitGroup
	defer publishers.Wait()
	for _, g := range r.groups {
		publishers.Go(func() { g.publish(load, r.balance, time.Second*time.Duration(len(r.groups))/time.Duration(o.rate)) })
	}
	began := time.Now()
	for range o.rounds {
		for _, s := range r.servers {
			if err := r.restart(ctx, s); err != nil {
				return nil, err
			}
		}
	}
	if err := pause(ctx, o.calm); err != nil {
		return nil, err
	}
	endLoad()
	publishers.Wait()
	took := time.Since(began)
	settled := r.settle(ctx)
	if err := pause(ctx, time.Second); err != nil { // for a last look at the servers
		return nil, err
	}
	cancel()
	work.Wait()
	return r.judge(took, settled), nil
}

// serve starts both servers on one engine. end ends them all.
func (r *rehearsal) serve(ctx context.Context) (end func(), err error) {
	var ends []func()
	all := func() {
		for _, end := range slices.Backward(ends) {
			end()
		}
	}
	defer func() {
		if err != nil {
			all()
		}
	}()
	if r.binary == "" {
		r.binary = filepath.Join(r.dir, "rhubarb")
		if err := build(ctx, r.binary, "./cmd/rhubarb", r.race); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, startWait)
	defer cancel()
	args := []string{"--data", filepath.Join(r.dir, "data")}
	if r.engine == "nats" {
		url, stop, err := startNATS(ctx, r.dir)
		if err != nil {
			return nil, err
		}
		ends, args = append(ends, stop), []string{"--url", url}
	} else if r.engine != "embedded" {
		return nil, fmt.Errorf("no engine is named %q: want embedded or nats", r.engine)
	}
	var log io.Writer = io.Discard
	if r.verbose {
		log = os.Stderr
	}
	for i := range r.servers {
		addr, err := freeAddr()
		if err != nil {
			return nil, err
		}
		s := &server{name: string(rune('A' + i)), addr: addr, binary: r.binary, grace: r.grace, log: log, args: append([]string{
			"serve", "--addr", addr, "--group", "g*", "--keep", "1h", "--grace", r.grace.String()}, args...)}
		r.servers[i], ends = s, append(ends, s.kill)
		if err := s.start(ctx); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// gather starts the clients.
func (r *rehearsal) gather(ctx context.Context, work *sync.WaitGroup) {
	for i := range r.options.groups {
		r.groups = append(r.groups, &group{name: "g" + strconv.Itoa(i), uncertain: map[int]bool{}})
	}
	for i := range r.options.clients {
		c := &client{group: r.groups[i%len(r.groups)], balance: r.balance, wire: webSocket{}}
		if i/len(r.groups)%2 == 0 {
			c.wire = &eventSource{}
		}
		r.clients = append(r.clients, c)
		begin := time.Duration(i) * time.Millisecond / 2 // 2,000 a second
		work.Go(func() {
			if pause(ctx, begin) == nil {
				c.run(ctx)
			}
		})
	}
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

var errNotBack = errors.New("not all clients have a connection")

// wait waits until all clients are there.
func (r *rehearsal) wait(ctx context.Context, most time.Duration) error {
	for end := time.Now().Add(most); ; {
		open := r.open()
		if open == len(r.clients) {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("%w after %v: %d of %d", errNotBack, most, open, len(r.clients))
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
}

func (r *rehearsal) open() (n int) {
	for _, c := range r.clients {
		if c.open.Load() {
			n++
		}
	}
	return n
}

// restart is a deploy of one server: ended, started again, and time for its
// clients to be back.
func (r *rehearsal) restart(ctx context.Context, s *server) error {
	if err := pause(ctx, r.calm); err != nil {
		return err
	}
	status, text, err := get(ctx, "http://"+s.addr+"/metrics")
	if err != nil {
		return fmt.Errorf("server %s: status %d: %w", s.name, status, err)
	}
	out := rollout{name: s.name, held: r.holds(s), began: time.Now(),
		open: int(metric(text, "rhubarb_sse_connections") + metric(text, "rhubarb_ws_connections"))}
	limit, cancel := context.WithTimeout(ctx, r.grace+r.away+endWait)
	defer cancel()
	out.drain, out.err = s.stop(limit)
	if limit.Err() != nil {
		return fmt.Errorf("server %s does not end: %w", s.name, limit.Err())
	}
	if err := pause(ctx, r.away); err != nil {
		return err
	}
	start := time.Now()
	if err := s.start(limit); err != nil {
		return err
	}
	out.readyIn = time.Since(start)
	if err := r.wait(ctx, endWait); err != nil && !errors.Is(err, errNotBack) {
		return err
	}
	out.allBackIn = time.Since(out.began)
	r.rollouts = append(r.rollouts, out)
	return nil
}

// holds reports whether a server holds the embedded engine.
func (r *rehearsal) holds(s *server) bool {
	var info struct{ PID int }
	raw, err := os.ReadFile(filepath.Join(r.dir, "data", "engine.json"))
	return err == nil && json.Unmarshal(raw, &info) == nil && info.PID == s.pid()
}

// settle waits until every client has what was acknowledged, and reports whether
// they do.
func (r *rehearsal) settle(ctx context.Context) bool {
	for end := time.Now().Add(endWait); ; {
		behind := 0
		for _, c := range r.clients {
			c.mu.Lock()
			if c.newest < int(c.group.newest.Load()) {
				behind++
			}
			c.mu.Unlock()
		}
		if behind == 0 {
			return true
		}
		if time.Now().After(end) || pause(ctx, 50*time.Millisecond) != nil {
			return false
		}
	}
}
