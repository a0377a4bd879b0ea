package edge_test

import (
	"bufio"
	"net/http"
	"sync"
	"testing"
)

// Proxies cut what is silent: nginx after proxy_read_timeout, 60 s, and haproxy
// after timeout client and server, which Debian sets to 50 s. Here it is 20 s,
// so that the test need not last minutes: two heartbeats pass.
func TestHeartbeatsKeepAnIdleStreamThroughAProxy(t *testing.T) {
	t.Parallel()
	s := serve(t)
	ways := map[string]*edge{
		"nginx": runNginx(t, configuration(t, "nginx-plain.conf", "listen 80;", "listen "+addrMark+"; proxy_read_timeout 20s;", "127.0.0.1:8080", s.addr)),
		"haproxy": runHaproxy(t, configuration(t, "haproxy.cfg", "bind :80", "bind "+addrMark, "127.0.0.1:8080", s.addr, "127.0.0.1:8081", s.addr,
			"timeout client  50000", "timeout client 20s", "timeout server  50000", "timeout server 20s")),
	}
	var idle sync.WaitGroup
	defer idle.Wait()
	for name, e := range ways {
		idle.Go(func() { stays(t, name, e) })
		idle.Go(func() { isCut(t, name, e) })
	}
}

// stays follows a group in which nothing happens, for two heartbeats after the
// first words.
func stays(t *testing.T, name string, e *edge) {
	res := open(t, e.url+"/groups/room."+newName()+"/events")
	if res == nil {
		return
	}
	defer res.Body.Close()
	for r, beats := bufio.NewReader(res.Body), 0; beats < 3; {
		text, err := r.ReadString('\n')
		if err != nil {
			t.Errorf("%s cut an idle stream after %d heartbeats: %v", name, beats, err)
			return
		}
		if text == ":\n" {
			beats++
		}
	}
}

// isCut waits longer than the proxy does for something without heartbeats: a
// task that nobody has called.
func isCut(t *testing.T, name string, e *edge) {
	res := open(t, e.url+"/tasks/"+newName()+"?wait=50s")
	if res == nil {
		return
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusGatewayTimeout {
		t.Errorf("%s answered a silent request with %s, want 504: its timeout is not what the test thinks", name, res.Status)
	}
}

// open makes a request, nil if it fails.
func open(t *testing.T, url string) *http.Response {
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Error(err)
		return nil
	}
	req.Close = true
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Error(err)
		return nil
	}
	return res
}
