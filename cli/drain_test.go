package cli_test

import (
	"context"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/rhubarb-go/rhubarb/sse"
)

// A stop closes event streams one after the other. Those that are still open
// hear what is sent, also through the process that stops, and one that comes now
// is told to come back.
func TestAStopIsNotNoticedBeforeItsTurn(t *testing.T) {
	s := open(t)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	errs, exit := watched(), make(chan int, 1)
	go func() {
		exit <- s.p.Run(ctx, []string{"serve", "--addr", "127.0.0.1:0", "--group", "garden", "--keep", "1h", "--grace", "10s"}, io.Discard, errs)
	}()
	url := regexp.MustCompile(`http://127\.0\.0\.1:\d+`).FindString(errs.has(t, "msg=serving url="))
	const clients = 5
	type end struct {
		last string
		err  error
	}
	ends := make(chan end, clients)
	for range clients {
		r := stream(t, url+"/groups/garden/events")
		go func() {
			var e end
			for e.err == nil {
				var ev sse.Event
				if ev, e.err = r.Next(); e.err == nil {
					e.last = ev.Data
				}
			}
			ends <- e
		}()
	}
	stop()
	<-ends // the first one; the last has three seconds more
	if res := fetch(t, "GET", url+"/readyz", ""); res.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("readyz: got %d, want 503", res.StatusCode)
	}
	if res := fetch(t, "POST", url+"/groups/garden", `{"type":"late"}`); res.StatusCode != http.StatusAccepted {
		t.Errorf("publish: got %d %s", res.StatusCode, res.body)
	}
	if late := stream(t, url+"/groups/garden/events"); !ended(late) || late.Retry() == 0 {
		t.Errorf("who comes during a stop is told to come back in %v, want a stream that ends at once", late.Retry())
	}
	if _, res, err := websocket.Dial(t.Context(), "ws"+strings.TrimPrefix(url, "http")+"/groups/garden/ws", nil); err == nil || res == nil || res.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("a WebSocket during a stop was answered %+v, %v, want 503", res, err)
	}
	var last end
	for range clients - 1 {
		last = <-ends
	}
	if last.last != `{"type":"late"}` || last.err != io.EOF {
		t.Errorf("the last client heard %q and then %v, want what was sent and a clean end", last.last, last.err)
	}
	if got := <-exit; got != 0 {
		t.Errorf("exit code %d, %s", got, errs)
	}
}

// stream opens an event stream.
func stream(t *testing.T, url string) *sse.Reader {
	t.Helper()
	transport := &http.Transport{DisableKeepAlives: true}
	res, err := (&http.Client{Transport: transport}).Get(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { res.Body.Close() })
	if res.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: %s", url, res.Status)
	}
	return sse.NewReader(res.Body, nil)
}

func ended(r *sse.Reader) bool {
	_, err := r.Next()
	return err == io.EOF
}
