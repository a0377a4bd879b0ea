package worker

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/google/uuid"

	"github.com/rhubarb-go/rhubarb"
	"github.com/rhubarb-go/rhubarb/engine"
	"github.com/rhubarb-go/rhubarb/internal/celery"
)

// followSpace makes the ids of follow-ups from the id of the task they follow,
// so that a task settled twice is followed once.
var followSpace = uuid.MustParse("8b0a6c0e-52a5-4b7e-9d3b-6d5c2f9f6a11")

// following gathers the messages that follow from a run.
type following struct {
	run  *run
	part string // of what they are: it tells their ids apart
	made int
	pubs []engine.Publication
}

// links calls signatures with args in front of their own.
// celery/app/trace.py _dispatch_callbacks_and_chain: groups by themselves, and
// what else there is as one group.
func (r *run) links(sigs []rhubarb.Signature, args ...json.RawMessage) []engine.Publication {
	f := &following{run: r, part: "link"}
	var plain []rhubarb.Signature
	for _, sig := range sigs {
		if len(sigs) > 1 && !isA(sig, "group") {
			plain = append(plain, sig)
			continue
		}
		f.child(f.send(sig, nil, args))
	}
	switch len(plain) {
	case 0:
	case 1:
		f.child(f.send(plain[0], nil, args))
	default:
		f.child(f.group("", plain, args))
	}
	return f.pubs
}

// errorLinks calls signatures because the run failed. They are no children: the
// record is written first. celery/backends/base.py _call_task_errbacks.
func (r *run) errorLinks(sigs []rhubarb.Signature, rec *celery.Result) []engine.Publication {
	if len(sigs) == 0 {
		return nil
	}
	f := &following{run: r, part: "link_error"}
	id := []json.RawMessage{quote(r.d.ID)}
	var plain []rhubarb.Signature
	for _, sig := range sigs {
		if t := r.s.tasks[sig.Task]; t == nil || !t.TakesFailed {
			plain = append(plain, sig)
			continue
		}
		args, err := r.failed(rec).Arguments()
		if err != nil {
			args = id
		}
		f.send(sig, nil, args)
	}
	if len(plain) > 0 {
		f.group("", plain, id)
	}
	return f.pubs
}

// failed is the run as an error link sees it.
func (r *run) failed(rec *celery.Result) rhubarb.Failed {
	t := r.t
	f := rhubarb.Failed{ID: r.d.ID, Task: t.Name, RootID: t.RootID, ParentID: t.ParentID,
		Retries: t.Retries, Args: t.Args, Kwargs: t.Kwargs}
	if x, ok := celery.ExceptionOf(rec.Result); ok {
		f.Type, f.Module, f.Message = x.Type, x.Module, x.Text()
	}
	if rec.Traceback != nil {
		f.Traceback = *rec.Traceback
	}
	return f
}

// nextStep calls the next step of a chain: its last element, since a chain
// travels last step first.
func (r *run) nextStep(value json.RawMessage) []engine.Publication {
	rest := r.t.Embed.Chain
	if len(rest) == 0 {
		return nil
	}
	f := &following{run: r, part: "chain"}
	f.child(f.send(rest[len(rest)-1], rest[:len(rest)-1], []json.RawMessage{value}))
	return f.pubs
}

// sent is what a signature became: one task, or a group and its members.
type sent struct {
	id      string
	members []string
}

// child notes in the record what was sent.
func (f *following) child(s sent) {
	switch {
	case s.id == "":
	case s.members == nil:
		f.run.sent.Add(s.id)
	default:
		f.run.sent.AddGroup(s.id, s.members)
	}
}

// send calls a signature with args in front of its own; rest are the steps that
// follow it in a chain, last step first. What cannot be called is logged, and
// the steps behind it are lost with it.
func (f *following) send(sig rhubarb.Signature, rest []rhubarb.Signature, args []json.RawMessage) sent {
	if isA(sig, "chain") {
		first, later, err := steps(sig)
		if err != nil {
			return f.refuse(sig, err)
		}
		return f.send(first, append(slices.Clip(rest), later...), args)
	}
	if isA(sig, "group") {
		if len(rest) > 0 { // celery/canvas.py: the sender has made it a chord
			return f.refuse(sig, fmt.Errorf("a group that %s comes after must be a chord", rest[len(rest)-1].Task))
		}
		members, err := flat(sig)
		if err != nil {
			return f.refuse(sig, err)
		}
		return f.group(textOf(sig.Options["task_id"]), members, args)
	}
	call, err := rhubarb.CallOf(sig, args...)
	if err != nil {
		return f.refuse(sig, err)
	}
	if len(rest) > 0 {
		call.Chain = rest
	}
	return f.publish(call)
}

// group calls signatures as the members of one group.
func (f *following) group(id string, sigs []rhubarb.Signature, args []json.RawMessage) sent {
	if id == "" {
		id = f.id()
	}
	group := sent{id: id, members: []string{}}
	for i, sig := range sigs {
		if s := f.send(member(sig, id, i), nil, args); s.id != "" {
			group.members = append(group.members, s.id)
		}
	}
	return group
}

func (f *following) publish(call *rhubarb.Call) sent {
	r := f.run
	if call.ID == "" {
		call.ID = f.id()
	}
	call.ParentID = r.d.ID
	if call.RootID = r.t.RootID; call.RootID == "" {
		call.RootID = r.d.ID
	}
	r.s.app.Inherit(call, r.d.Priority)
	pub, err := r.s.app.Publication(call)
	if err != nil {
		r.s.log.Error("prepare follow-up", "task", call.Task, "id", r.d.ID, "err", err)
		return sent{}
	}
	f.pubs = append(f.pubs, pub)
	return sent{id: call.ID}
}

func (f *following) refuse(sig rhubarb.Signature, err error) sent {
	f.run.s.log.Error("call follow-up", "task", f.run.t.Name, "id", f.run.d.ID, "follow", sig.Task, "err", err)
	return sent{}
}

// id makes the next id.
func (f *following) id() string {
	n := f.made
	f.made++
	return uuid.NewSHA1(followSpace, []byte(f.run.d.ID+"/"+f.part+strconv.Itoa(n))).String()
}

// isA reports whether a signature is of a kind of its own. celery/canvas.py
// _subtask types.
func isA(sig rhubarb.Signature, kind string) bool {
	return sig.SubtaskType != nil && *sig.SubtaskType == kind
}

// steps takes a chain apart: its first step, and the later ones last first.
func steps(chain rhubarb.Signature) (first rhubarb.Signature, later []rhubarb.Signature, err error) {
	var all []rhubarb.Signature
	if err := json.Unmarshal(chain.Kwargs["tasks"], &all); err != nil {
		return first, nil, fmt.Errorf("tasks of a chain: %w", err)
	}
	if len(all) == 0 {
		return first, nil, fmt.Errorf("the chain is empty")
	}
	slices.Reverse(all)
	last := len(all) - 1
	return all[last], all[:last], nil
}

// flat returns the members of a group and, in their places, those of groups
// within it. The group's options are theirs as well.
func flat(group rhubarb.Signature) ([]rhubarb.Signature, error) {
	var tasks, out []rhubarb.Signature
	if err := json.Unmarshal(group.Kwargs["tasks"], &tasks); err != nil {
		return nil, fmt.Errorf("tasks of a group: %w", err)
	}
	for _, sig := range tasks {
		sig.Options = merge(sig.Options, group.Options)
		if !isA(sig, "group") {
			out = append(out, sig)
			continue
		}
		inner, err := flat(sig)
		if err != nil {
			return nil, err
		}
		out = append(out, inner...)
	}
	return out, nil
}

// merge lays a group's options over those of a member. celery/canvas.py
// Signature._merge.
func merge(own, group map[string]json.RawMessage) map[string]json.RawMessage {
	if len(group) == 0 {
		return own
	}
	out := maps.Clone(own)
	if out == nil {
		out = map[string]json.RawMessage{}
	}
	for k, v := range group {
		switch k {
		case "task_id", "group_id", "group_index", "link", "link_error":
		default:
			out[k] = v
		}
	}
	return out
}

// member gives a signature its place in a group; a chain's place is that of its
// last step.
func member(sig rhubarb.Signature, group string, index int) rhubarb.Signature {
	if isA(sig, "chain") {
		var all []rhubarb.Signature
		if json.Unmarshal(sig.Kwargs["tasks"], &all) != nil || len(all) == 0 {
			return sig // send says what is wrong
		}
		last := len(all) - 1
		all[last] = member(all[last], group, index)
		raw, err := json.Marshal(all)
		if err != nil {
			return sig
		}
		sig.Kwargs = maps.Clone(sig.Kwargs)
		sig.Kwargs["tasks"] = raw
		return sig
	}
	sig.Options = maps.Clone(sig.Options)
	if sig.Options == nil {
		sig.Options = map[string]json.RawMessage{}
	}
	sig.Options["group_id"] = quote(group)
	sig.Options["group_index"] = json.RawMessage(strconv.Itoa(index))
	return sig
}

func quote(s string) json.RawMessage {
	raw, err := json.Marshal(s)
	if err != nil { // a string always encodes
		return json.RawMessage(`""`)
	}
	return raw
}
