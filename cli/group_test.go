package cli_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/rhubarb-go/rhubarb/channels"
)

func TestGroupTailShowsWhatIsSent(t *testing.T) {
	s := open(t)
	out, errs := watched(), watched()
	s.until("tail", func(ctx context.Context) error {
		s.p.Run(ctx, []string{"group", "tail", "chat.garden", "other"}, out, errs)
		return nil
	})
	errs.has(t, "listening")
	s.want(0, "", "", "group", "send", "chat.garden", "chat.message", "message=hello", "n=12", "who=")
	out.has(t, `{"message":"hello","n":12,"type":"chat.message","who":""}`+"\n")
	s.want(0, "", "", "group", "send", "other", "x", "--fields", `{"a": [1.5, null]}`)
	out.has(t, `{"a":[1.5,null],"type":"x"}`+"\n")
	s.want(0, "", "", "group", "send", "nobody", "x")
}

func TestGroupMembers(t *testing.T) {
	s := open(t)
	s.want(0, "", "nobody is present in g\n", "group", "members", "g")
	hub, err := channels.Open(t.Context(), s.engine.Layer, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer hub.Close()
	ch, err := hub.Open(func(channels.Event) {})
	if err == nil {
		err = ch.Present(t.Context(), "g", channels.Member{ID: "ann", Info: json.RawMessage(`{"a":1}`)})
	}
	if err != nil {
		t.Fatal(err)
	}
	s.want(0, `{"id":"ann","info":{"a":1},"count":1}`+"\n", "", "group", "members", "g", "--json")
	exit, text, _ := s.run("group", "members", "g")
	if exit != 0 || strings.Join(strings.Fields(text), " ") != `MEMBER CONNECTIONS INFO ann 1 {"a":1}` {
		t.Errorf("got exit %d and\n%s", exit, text)
	}
}

func TestBadGroupCommands(t *testing.T) {
	s := open(t)
	for _, c := range []struct{ want, args string }{
		{"group name has 100 bytes", "send " + strings.Repeat("x", 100) + " x"},
		{`only ASCII letters`, "send a/b x"},
		{`begins with a dot or an underscore`, "send g _x"},
		{`is not of the form key=value`, "send g x hello"},
		{`there are two`, "send g x type=y"},
		{`is not a JSON object`, "send g x --fields [1]"},
		{`only ASCII letters`, "tail g a/b"},
		{`only ASCII letters`, "members a/b"},
	} {
		exit, out, errs := s.run(append([]string{"group"}, strings.Fields(c.args)...)...)
		if exit != 2 || out != "" || !strings.Contains(errs, c.want) {
			t.Errorf("group %s: got exit %d, %q, %q; want 2 and …%s…", c.args, exit, out, errs, c.want)
		}
	}
}

func TestServeOpensTheGroupsThatAreNamed(t *testing.T) {
	s := open(t)
	url := s.served("--group", "chat.*")
	tail, listening := watched(), watched()
	s.until("tail", func(ctx context.Context) error {
		s.p.Run(ctx, []string{"group", "tail", "chat.garden"}, tail, listening)
		return nil
	})
	listening.has(t, "listening")
	if res := fetch(t, "POST", url+"/groups/chat.garden", `{"type": "x"}`); res.StatusCode != http.StatusAccepted {
		t.Errorf("publish: got %d %s", res.StatusCode, res.body)
	}
	tail.has(t, `{"type":"x"}`)
	if res := fetch(t, "POST", url+"/groups/other", `{"type": "x"}`); res.StatusCode != http.StatusNotFound {
		t.Errorf("publish to a closed group: got %d %s", res.StatusCode, res.body)
	}
	if exit, _, errs := s.run("serve", "--addr", "127.0.0.1:0", "--group", "[a"); exit != 2 || !strings.Contains(errs, "--group [a") {
		t.Errorf("a bad pattern: got exit %d, %q", exit, errs)
	}
}
