package redisengine_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rhubarb-go/rhubarb/engine"
	"github.com/rhubarb-go/rhubarb/engine/redisengine"
)

// pidboxPing is what celery 5.6.2 sends for inspect().ping().
const pidboxPing = `{"body": "eyJtZXRob2QiOiAicGluZyJ9", "content-encoding": "utf-8", "content-type": "application/json", ` +
	`"headers": {"clock": 1, "expires": 0}, "properties": {"delivery_mode": 2, "delivery_info": {"exchange": "celery.pidbox", ` +
	`"routing_key": ""}, "priority": 0, "body_encoding": "base64", "delivery_tag": "1d3fd80b-5ff2-4ba7-9d3f-f1f3ee5f6d3a"}}`

func next(t *testing.T, e *redisengine.Engine, to engine.Topic) <-chan engine.Message {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	seq, err := e.Listen(ctx, to)
	if err != nil {
		t.Fatal(err)
	}
	heard, ended := make(chan engine.Message, 10), make(chan struct{})
	go func() {
		defer close(ended)
		defer close(heard)
		for m := range seq {
			heard <- m
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	return heard
}

func TestChannelsAreKombus(t *testing.T) {
	t.Parallel()
	s := startRedis(t)
	e := connect(t, s.url()+"/3?global_keyprefix=site[1]:")
	for _, c := range []struct {
		to      engine.Topic
		channel string
	}{
		{engine.Topic{Exchange: "celery.pidbox"}, "site[1]:/3.celery.pidbox"},
		{engine.Topic{Exchange: "celeryev", Key: "worker.heartbeat"}, "site[1]:/3.celeryev/worker.heartbeat"},
	} {
		raw, _ := listen(t, e, c.channel, false)
		heard := next(t, e, engine.Topic{Exchange: c.to.Exchange, Key: "#"})
		if err := e.Broadcast(t.Context(), c.to, engine.Message{Properties: []byte(`{"delivery_mode":1}`), Body: []byte("{}")}); err != nil {
			t.Fatal(err)
		}
		if m := <-heard; string(m.Body) != "{}" {
			t.Errorf("%+v: heard %+v", c.to, m)
		}
		want := `"properties":{"delivery_mode":1,"delivery_info":{"exchange":"` + c.to.Exchange + `","routing_key":"` + c.to.Key + `"}`
		if text := <-raw; !strings.Contains(text, want) {
			t.Errorf("%+v: sent %s, want %s in it", c.to, text, want)
		}
		publish(t, e, c.channel, "garbage")
		publish(t, e, c.channel, pidboxPing)
		if m := <-heard; string(m.Body) != `{"method": "ping"}` || string(m.Headers) != `{"clock": 1, "expires": 0}` {
			t.Errorf("%+v: heard %+v, want kombu's", c.to, m)
		}
	}
	if n := e.Missed(); n != 2 {
		t.Errorf("%d messages are counted as missed, want the garbage of two channels", n)
	}
}

func TestMailboxesAreKombus(t *testing.T) {
	t.Parallel()
	s := startRedis(t)
	e, c := s.engine(t), connect(t, s.url()).Client()
	to := engine.Topic{Exchange: "reply.celery.pidbox", Key: "oid", Direct: true}
	const table, queue = "_kombu.binding.reply.celery.pidbox", "oid.reply.celery.pidbox"
	if err := e.Broadcast(t.Context(), to, engine.Message{Body: []byte("nobody")}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	seq, err := e.Listen(ctx, to)
	if err != nil {
		t.Fatal(err)
	}
	members, err := c.Do(ctx, c.B().Smembers().Key(table).Build()).AsStrSlice()
	if want := []string{"oid\x06\x16\x06\x16" + queue}; err != nil || !slices.Equal(members, want) {
		t.Errorf("bindings: got %q, %v, want %q", members, err, want)
	}
	if err := e.Broadcast(ctx, to, engine.Message{Body: []byte("a")}); err != nil {
		t.Fatal(err)
	}
	if left, err := c.Do(ctx, c.B().Pttl().Key(queue).Build()).AsInt64(); err != nil || left <= 0 {
		t.Errorf("the list of a reader that may die is kept for %d ms, %v", left, err)
	}
	if err := c.Do(ctx, c.B().Lpush().Key(queue).Element(pidboxPing).Build()).Error(); err != nil { // as a Python worker does
		t.Fatal(err)
	}
	var got []string
	for m := range seq {
		if got = append(got, string(m.Body)); len(got) == 2 {
			break
		}
	}
	if want := []string{"a", `{"method": "ping"}`}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if n, err := c.Do(ctx, c.B().Exists().Key(table, queue).Build()).AsInt64(); n != 0 || err != nil {
		t.Errorf("%d keys are left of a mailbox, %v", n, err)
	}
}

func TestAMailboxOutlivesARestart(t *testing.T) {
	t.Parallel()
	s := startRedis(t)
	e := s.engine(t)
	to := engine.Topic{Exchange: "reply", Key: "oid", Direct: true}
	heard := next(t, e, to)
	s.restart(t)
	if err := connect(t, s.url()).Broadcast(t.Context(), to, engine.Message{Body: []byte("after")}); err != nil {
		t.Fatal(err)
	}
	if m := <-heard; string(m.Body) != "after" {
		t.Errorf("got %+v, want what was sent after the restart", m)
	}
}

func TestAListenerThatLagsLosesMessagesThatAreCounted(t *testing.T) {
	t.Parallel()
	e := startRedis(t).engine(t)
	to := engine.Topic{Exchange: "x"}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if _, err := e.Listen(ctx, to); err != nil { // and nobody reads
		t.Fatal(err)
	}
	const sent = 1100
	fence, _ := listen(t, e, "fence", false)
	for range sent {
		if err := e.Broadcast(ctx, to, engine.Message{Body: []byte("x")}); err != nil {
			t.Fatal(err)
		}
	}
	publish(t, e, "fence", "all were heard")
	fence.want(t, "all were heard")
	if n := e.Missed(); n != sent-1024 {
		t.Errorf("%d are missed, want %d", n, sent-1024)
	}
}
