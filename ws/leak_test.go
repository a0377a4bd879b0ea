package ws

import (
	"net"
	"os"
	"sync"
	"testing"
)

// files is how many file descriptors this process has open; 0 where the system
// does not tell.
func files(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	return len(all)
}

func TestThousandsComeAndGoAndNothingIsLeft(t *testing.T) {
	s, addr := serve(t, Options{Compress: true}, echo)
	before := files(t)
	ways := []func(p *peer){
		func(p *peer) { p.shake(); p.send(closeWith(1000, "")); p.wants("close 1000", "EOF") },
		func(p *peer) { p.shake(); p.send(text("hello")); p.wants("text hello") }, // and goes
		func(p *peer) { p.shake(); _ = p.nc.(*net.TCPConn).SetLinger(0) },         // a reset
		func(p *peer) { p.shake(); _ = p.nc.(*net.TCPConn).CloseWrite(); p.wants("EOF") },
		func(p *peer) { p.shake(); p.write(text("hello").masked()[:4]) }, // goes within a frame
		func(p *peer) { p.shake(); p.write([]byte("nonsense")); p.wants("close 1002…", "EOF") },
		func(p *peer) { p.shake("Origin: https://evil.example") },
		func(p *peer) { p.request("GET /ws HTTP/1.1", "Host: x") },
		func(p *peer) { p.write([]byte("GET /ws HTTP/1.1\r\nHost: ")) },
		func(p *peer) {}, // says nothing
	}
	const clients, atOnce = 2000, 50
	var running sync.WaitGroup
	seats := make(chan struct{}, atOnce)
	for i := range clients {
		seats <- struct{}{}
		running.Go(func() {
			defer func() { <-seats }()
			p := dialRaw(t, addr)
			defer p.nc.Close()
			ways[i%len(ways)](p)
		})
	}
	running.Wait()
	counted(t, "open", func() uint64 { return uint64(s.Stats().Open.Load()) }, 0)
	counted(t, "file descriptors", func() uint64 { return uint64(max(files(t), before)) }, uint64(before))
	if n := s.Stats().Opened.Load(); n != clients*6/10 {
		t.Errorf("%d were opened, want %d", n, clients*6/10)
	}
	var closed uint64
	for _, c := range Causes() {
		closed += s.Stats().Closed(c)
	}
	if closed != s.Stats().Opened.Load() {
		t.Errorf("%d are counted as closed, %d as opened", closed, s.Stats().Opened.Load())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.conns) != 0 || s.coming != 0 || s.pool.Stats().Conns != 0 {
		t.Errorf("the server has %d connections, %d coming, its pool %d", len(s.conns), s.coming, s.pool.Stats().Conns)
	}
}
