package demo_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/coder/websocket"
)

// tell says something in a window's room.
func tell(b *tab, text string) {
	b.t.Helper()
	b.until(says("chat-status", "ere")) // "Here with you", or "Only you are here"
	eval[chromedp.Void](b, element("chat-text")+".value = '"+text+"'")
	b.click("chat-say")
}

// heard is true when the room says exactly that, each line once.
func heard(lines ...string) string {
	return "[..." + element("chat-log") + ".children].map(li => li.lastChild.textContent).join('|') === '" + strings.Join(lines, "|") + "'"
}

func name(b *tab) string { return b.text("chat-name") }

func TestTwoWindowsTalk(t *testing.T) {
	t.Parallel()
	d := fresh(t)
	ann, bob := browse(t, d.url, wide, high), browse(t, d.url, wide, high)
	ann.until(says("chat-status", "Here with you: "+name(bob)))
	bob.until(says("chat-status", "Here with you: "+name(ann)))
	tell(ann, "hello")
	bob.until(heard("hello"))
	bob.until(element("chat-bare") + `.textContent === '{"message":"hello"}'`) // by a bare WebSocket
	tell(bob, "hello yourself")
	ann.until(heard("hello", "hello yourself"))
	if got, want := eval[string](ann, element("chat-log")+".lastChild.firstChild.textContent"), name(bob); got != want {
		t.Errorf("%q said it, want %q", got, want)
	}
	late := browse(t, d.url, wide, high)
	late.until(heard("hello", "hello yourself"))
	late.until(says("chat-status", name(ann)))
	gone := name(bob)
	eval[chromedp.Void](bob, "location.href = 'about:blank'")
	ann.until("!" + says("chat-status", gone))
	ann.clean()
	late.clean()
}

// TestARoomGoesOnAfterTheDemoDied has a window that stays open meanwhile.
func TestARoomGoesOnAfterTheDemoDied(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d := open(t, dir, "localhost:0")
	b := browse(t, d.url, wide, high)
	tell(b, "before")
	b.until(heard("before"))
	d.kill(t)
	b.until(says("chat-status", "Away"))
	open(t, dir, strings.TrimPrefix(d.url, "http://"))
	tell(b, "after")
	b.until(heard("before", "after"))
	late := browse(t, d.url, wide, high)
	late.until(heard("before", "after"))
}

// TestTheTutorialsClient needs nothing but a WebSocket.
func TestTheTutorialsClient(t *testing.T) {
	t.Parallel()
	url := "ws" + strings.TrimPrefix(fresh(t).url, "http") + "/ws/chat/lobby/"
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	dial := func(url string) *websocket.Conn {
		c, _, err := websocket.Dial(ctx, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.CloseNow() })
		return c
	}
	hears := func(c *websocket.Conn, want string) {
		t.Helper()
		if _, got, err := c.Read(ctx); err != nil || string(got) != want {
			t.Fatalf("heard %s, %v, want %s", got, err, want)
		}
	}
	say := func(c *websocket.Conn, text string) {
		t.Helper()
		if err := c.Write(ctx, websocket.MessageText, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	one, two := dial(url), dial(url)
	say(one, `{"message": "hello"}`)
	hears(one, `{"message":"hello"}`)
	hears(two, `{"message":"hello"}`)
	say(one, `hello?`)
	hears(one, `{"error":"say {\"message\": \"…\"} of 1 to 500 bytes"}`)
	say(two, `{"message": "still here"}`)
	hears(two, `{"message":"still here"}`)
	hears(one, `{"message":"still here"}`)
	if _, resp, err := websocket.Dial(ctx, strings.Replace(url, "lobby", "no%20room", 1), nil); err == nil || resp == nil || resp.StatusCode != 404 {
		t.Errorf("a room that cannot be: %v, %v", resp, err)
	}
}
