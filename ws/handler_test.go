package ws_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/rhubarb-go/rhubarb/channels"
	"github.com/rhubarb-go/rhubarb/engine/memengine"
	"github.com/rhubarb-go/rhubarb/ws"
)

// site is a server with a hub of its own.
type site struct {
	*ws.Server
	hub *channels.Hub
	url string
}

func open(t testing.TB, consumer func() channels.Consumer, opts *ws.Options) site {
	t.Helper()
	e := memengine.New()
	t.Cleanup(func() { e.Close() })
	hub, err := channels.Open(t.Context(), e, &channels.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	var run sync.WaitGroup
	run.Go(func() {
		if err := hub.Run(ctx); err != nil {
			t.Errorf("run: %v", err)
		}
	})
	t.Cleanup(func() { stop(); run.Wait(); hub.Close() })
	s, err := ws.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/ws/chat/{room}/", s.Handler(hub, consumer))
	web := httptest.NewServer(mux)
	t.Cleanup(web.Close)
	t.Cleanup(s.Close)
	return site{s, hub, "ws" + strings.TrimPrefix(web.URL, "http") + "/ws/chat/garden/"}
}

func dial(t *testing.T, url string, opts *websocket.DialOptions) (*websocket.Conn, *http.Response, error) {
	t.Helper()
	c, resp, err := websocket.Dial(t.Context(), url, opts)
	if err == nil {
		t.Cleanup(func() { c.CloseNow() })
	}
	return c, resp, err
}

func connect(t *testing.T, url string) *websocket.Conn {
	t.Helper()
	c, _, err := dial(t, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func say(t *testing.T, c *websocket.Conn, text string) {
	t.Helper()
	if err := c.Write(t.Context(), websocket.MessageText, []byte(text)); err != nil {
		t.Fatal(err)
	}
}

func hears(t *testing.T, c *websocket.Conn, want string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, got, err := c.Read(ctx)
	if err != nil || string(got) != want {
		t.Fatalf("heard %q, %v, want %q", got, err, want)
	}
}

// chat is the room of every tutorial. Who it is for is in the path.
type chat struct {
	channels.Base
	left chan<- int
}

type said struct {
	Message string `json:"message"`
}

var lines = channels.NewRelay(func(e channels.Event) (channels.Message, error) {
	var s said
	if err := e.Decode(&s); err != nil {
		return channels.Message{}, err
	}
	raw, err := json.Marshal(s)
	return channels.Message{Text: true, Data: raw}, err
})

func (chat) Connect(ctx context.Context, c *channels.Conn) error {
	return c.Follow(ctx, "chat."+c.Request().PathValue("room"), lines)
}

func (chat) Receive(ctx context.Context, c *channels.Conn, m channels.Message) error {
	var s said
	if err := m.JSON(&s); err != nil {
		return err
	}
	if s.Message == "fail" {
		return io.ErrUnexpectedEOF
	}
	if s.Message == "out" {
		return &channels.Closed{Code: 4003, Reason: "out you go"}
	}
	e, err := channels.NewEvent("chat.message", s)
	if err != nil {
		return err
	}
	return c.GroupSend(ctx, "chat."+c.Request().PathValue("room"), e)
}

func (c chat) Disconnect(_ context.Context, _ *channels.Conn, code int) { c.left <- code }

func TestAChat(t *testing.T) {
	left := make(chan int, 3)
	s := open(t, func() channels.Consumer { return chat{left: left} }, nil)
	ann, bob := connect(t, s.url), connect(t, s.url)
	say(t, ann, `{"message":"hello"}`)
	hears(t, bob, `{"message":"hello"}`)
	hears(t, ann, `{"message":"hello"}`)
	e, err := channels.NewEvent("chat.message", said{"from a task"})
	if err == nil {
		err = s.hub.GroupSend(t.Context(), "chat.garden", e)
	}
	if err != nil {
		t.Fatal(err)
	}
	hears(t, bob, `{"message":"from a task"}`)
	if err := bob.Close(4001, "bye"); err != nil {
		t.Fatal(err)
	}
	if code := <-left; code != 4001 {
		t.Errorf("disconnected with %d, want 4001", code)
	}
	hears(t, ann, `{"message":"from a task"}`)
	for _, end := range []struct {
		say  string
		code websocket.StatusCode
	}{{`not JSON`, 1007}, {`{"message":"out"}`, 4003}, {`{"message":"fail"}`, 1011}} {
		c := connect(t, s.url)
		say(t, c, end.say)
		if _, _, err := c.Read(t.Context()); websocket.CloseStatus(err) != end.code {
			t.Errorf("%s: closed with %v, want %d", end.say, err, end.code)
		}
		if code := <-left; code != int(end.code) {
			t.Errorf("%s: disconnected with %d, want %d", end.say, code, end.code)
		}
	}
	if n := s.hub.Stats().Failed.Load(); n != 1 {
		t.Errorf("%d consumers have failed, want 1", n)
	}
}

// door decides at the door.
type door struct {
	channels.Base
	connect func(ctx context.Context, c *channels.Conn) error
}

func (d door) Connect(ctx context.Context, c *channels.Conn) error { return d.connect(ctx, c) }

func TestWhatConnectDecides(t *testing.T) {
	for _, tt := range []struct {
		name    string
		connect func(ctx context.Context, c *channels.Conn) error
		status  int
		proto   string
	}{
		{"accepts", func(context.Context, *channels.Conn) error { return nil }, 101, ""},
		{"chooses a subprotocol", func(_ context.Context, c *channels.Conn) error { return c.Accept("two") }, 101, "two"},
		{"chooses one that was not offered", func(_ context.Context, c *channels.Conn) error { return c.Accept("three") }, 500, ""},
		{"refuses", func(context.Context, *channels.Conn) error {
			return &channels.Refused{Status: 401, Reason: "who are you?"}
		}, 401, ""},
		{"fails", func(context.Context, *channels.Conn) error { return io.ErrUnexpectedEOF }, 500, ""},
		{"panics", func(context.Context, *channels.Conn) error { panic("no luck") }, 500, ""},
		{"writes too early", func(ctx context.Context, c *channels.Conn) error { return c.WriteText(ctx, "hi") }, 500, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := open(t, func() channels.Consumer { return door{connect: tt.connect} }, nil)
			c, resp, _ := dial(t, s.url, &websocket.DialOptions{Subprotocols: []string{"one", "two"}})
			if resp == nil || resp.StatusCode != tt.status {
				t.Fatalf("answered %v, want %d", resp, tt.status)
			}
			if c != nil && c.Subprotocol() != tt.proto {
				t.Errorf("subprotocol %q, want %q", c.Subprotocol(), tt.proto)
			}
			if n := s.hub.Stats().Channels.Load(); c == nil && n != 0 {
				t.Errorf("%d channels are left", n)
			}
		})
	}
}

func TestADrainEndsTheConsumers(t *testing.T) {
	left := make(chan int, 1)
	s := open(t, func() channels.Consumer { return chat{left: left} }, nil)
	c := connect(t, s.url)
	gone := make(chan error, 1)
	go func() {
		_, _, err := c.Read(t.Context()) // which answers the close frame
		gone <- err
	}()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	s.Drain(ctx, time.Millisecond)
	if err := <-gone; websocket.CloseStatus(err) != websocket.StatusServiceRestart || !strings.Contains(err.Error(), "retry=") {
		t.Errorf("closed with %v", err)
	}
	select {
	case code := <-left:
		if code != 1012 {
			t.Errorf("disconnected with %d", code)
		}
	default:
		t.Error("the drain was over before the consumer")
	}
}
