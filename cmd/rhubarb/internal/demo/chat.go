package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/rhubarb-go/rhubarb/channels"
	"github.com/rhubarb-go/rhubarb/engine"
)

const (
	roomKeeps = time.Hour // what is said is kept for that long
	roomShows = 20        // of which a newcomer gets the last
	maxLine   = 500       // bytes of what is said at once
	maxGuest  = 40        // bytes of a name
)

// envelopes is the subprotocol of rhubarb.js, in which each message is
// {"id": …, "data": …}: see docs/gateway.md.
const envelopes = "rhubarb.v1"

type envelope struct {
	ID   engine.Position `json:"id,omitempty"`
	Data any             `json:"data"`
}

// line is what is said in a room: {"message": "…"}. Who speaks rhubarb.v1 also
// gets who said it, and who comes and goes.
type line struct {
	Message string `json:"message"`
	From    string `json:"from,omitempty"`
}

// guest is who comes or goes.
type guest struct {
	Joined string `json:"joined,omitempty"`
	Left   string `json:"left,omitempty"`
}

var (
	bareLines = channels.NewRelay(func(e channels.Event) (channels.Message, error) { return render(e, false) })
	fullLines = channels.NewRelay(func(e channels.Event) (channels.Message, error) { return render(e, true) })
)

// render writes an event once for all who get it.
func render(e channels.Event, full bool) (channels.Message, error) {
	var out any
	switch e.Type {
	case "chat.message":
		var l line
		if err := e.Decode(&l); err != nil {
			return channels.Message{}, err
		}
		if !full {
			l.From = ""
		}
		out = l
	case channels.PresenceJoin, channels.PresenceLeave:
		var p channels.Presence
		if err := e.Decode(&p); err != nil {
			return channels.Message{}, err
		}
		if out = (guest{Joined: p.ID}); e.Type == channels.PresenceLeave {
			out = guest{Left: p.ID}
		}
	}
	if out == nil || !full && e.Type != "chat.message" {
		return channels.Message{}, nil
	}
	if full {
		out = envelope{e.Position(), out}
	}
	raw, err := json.Marshal(out)
	return channels.Message{Text: true, Data: raw}, err
}

// chat is one connection to a room.
type chat struct {
	channels.Base
	room, name string
	full       bool // speaks rhubarb.v1
	received   int
}

// Connect joins the room of the path. With ?last_event_id= it goes on there.
func (c *chat) Connect(ctx context.Context, conn *channels.Conn) error {
	r := conn.Request()
	c.room = "chat." + r.PathValue("room")
	if err := engine.CheckGroup(c.room); err != nil {
		return &channels.Refused{Status: http.StatusNotFound, Reason: "there is no such room: " + err.Error()}
	}
	c.name = r.FormValue("name")
	if len(c.name) > maxGuest || !utf8.ValidString(c.name) {
		return &channels.Refused{Status: http.StatusBadRequest, Reason: fmt.Sprintf("a name has at most %d bytes of UTF-8", maxGuest)}
	}
	c.full = r.Header.Get("Sec-WebSocket-Protocol") == envelopes
	relay := bareLines
	if c.full {
		relay = fullLines
	}
	from := channels.Replay{After: engine.Position(r.FormValue("last_event_id")), Last: roomShows}
	if err := conn.Resume(ctx, c.room, relay, from); err != nil || c.name == "" || !c.full {
		return err
	}
	if err := conn.Present(ctx, c.room, channels.Member{ID: c.name}); err != nil {
		return err
	}
	members, err := conn.Members(ctx, c.room)
	if err != nil {
		return err
	}
	present := struct {
		Present []string `json:"present"`
	}{[]string{}}
	for _, m := range members {
		present.Present = append(present.Present, m.ID)
	}
	return conn.WriteJSON(ctx, envelope{Data: present})
}

// Receive tells the room what was said.
func (c *chat) Receive(ctx context.Context, conn *channels.Conn, m channels.Message) error {
	c.received++
	var said line
	err := json.Unmarshal(m.Data, &said)
	said.Message = strings.TrimSpace(said.Message)
	if err != nil || said.Message == "" || len(said.Message) > maxLine {
		wrong := map[string]any{"error": fmt.Sprintf(`say {"message": "…"} of 1 to %d bytes`, maxLine)}
		if c.full {
			wrong["n"] = c.received
		}
		return conn.WriteJSON(ctx, wrong)
	}
	e, err := channels.NewEvent("chat.message", line{Message: said.Message, From: c.name})
	if err != nil {
		return err
	}
	return conn.GroupSend(ctx, c.room, e, channels.Keep(roomKeeps))
}
