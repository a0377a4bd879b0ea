package worker

import (
	"encoding/json"
	"strconv"

	"github.com/google/uuid"

	"github.com/rhubarb-go/rhubarb"
	"github.com/rhubarb-go/rhubarb/engine"
)

// followSpace makes the ids of follow-ups from the id of the task they follow,
// so that a task settled twice is followed once.
var followSpace = uuid.MustParse("8b0a6c0e-52a5-4b7e-9d3b-6d5c2f9f6a11")

// follow makes the messages that call the signatures with value in front.
// celery/app/trace.py: parent_id is this task, root_id is kept.
func (r *run) follow(sigs []rhubarb.Signature, kind string, value json.RawMessage) []engine.Publication {
	var pubs []engine.Publication
	for i, sig := range sigs {
		call, err := rhubarb.CallOf(sig, value)
		if err != nil {
			r.s.log.Error("call "+kind, "task", r.t.Name, "id", r.d.ID, "err", err)
			continue
		}
		pubs = append(pubs, r.prepare(call, kind+strconv.Itoa(i))...)
	}
	return pubs
}

// nextStep makes the message of the chain's next step: its last element, since
// a chain travels last step first. celery/app/trace.py _chain.
func (r *run) nextStep(value json.RawMessage) []engine.Publication {
	rest := r.t.Embed.Chain
	next := rest[len(rest)-1]
	call, err := rhubarb.CallOf(next, value)
	if err != nil {
		r.s.log.Error("call next step of chain", "task", r.t.Name, "id", r.d.ID, "err", err)
		return nil
	}
	call.Chain = rest[:len(rest)-1]
	return r.prepare(call, "chain")
}

func (r *run) prepare(call *rhubarb.Call, part string) []engine.Publication {
	if call.ID == "" {
		call.ID = uuid.NewSHA1(followSpace, []byte(r.d.ID+"/"+part)).String()
	}
	if call.Queue == "" {
		call.Queue = r.s.app.DefaultQueue()
	}
	call.ParentID = r.d.ID
	if call.RootID = r.t.RootID; call.RootID == "" {
		call.RootID = r.d.ID
	}
	pub, err := r.s.app.Publication(call)
	if err != nil {
		r.s.log.Error("prepare follow-up", "task", call.Task, "id", r.d.ID, "err", err)
		return nil
	}
	r.sent.Add(call.ID)
	return []engine.Publication{pub}
}

func quote(s string) json.RawMessage {
	raw, err := json.Marshal(s)
	if err != nil { // a string always encodes
		return json.RawMessage(`""`)
	}
	return raw
}
