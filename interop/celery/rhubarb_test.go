package celery_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/rhubarb-go/rhubarb"
)

// rhubarbClient is ours, in this process.
type rhubarbClient struct{ app *rhubarb.App }

func (c rhubarbClient) send(ctx context.Context, call *call) error {
	first, err := call.ours()
	if err != nil {
		return err
	}
	for _, step := range slices.Backward(call.Then) { // a chain travels last step first
		s, err := step.signature()
		if err != nil {
			return err
		}
		first.Chain = append(first.Chain, s)
	}
	return c.app.Send(ctx, first)[0].Err
}

func (c rhubarbClient) get(ctx context.Context, id string) (answer, error) {
	var value json.RawMessage
	value, err := c.app.Result(id).Get(ctx)
	var failure *rhubarb.TaskError
	switch {
	case errors.As(err, &failure) && failure.Status == "REJECTED": // told apart from a failure here alone
		return answer{State: "FAILURE", Error: failure.Type, Text: failure.Message}, nil
	case errors.As(err, &failure):
		return answer{State: failure.Status, Error: failure.Type, Text: failure.Message}, nil
	case err != nil:
		return answer{}, err
	}
	return answer{State: "SUCCESS", Value: string(value)}, nil
}

func (c rhubarbClient) revoke(ctx context.Context, id string) error { return c.app.Revoke(ctx, id) }

func (c rhubarbClient) forget(ctx context.Context, id string) error {
	return c.app.Result(id).Forget(ctx)
}

// ours is the call as package rhubarb has it, without what follows.
func (c *call) ours() (*rhubarb.Call, error) {
	if c.Protocol == 1 {
		return nil, errors.New("rhubarb sends protocol 2 alone")
	}
	opts := []rhubarb.CallOption{rhubarb.TaskID(c.ID), rhubarb.Queue(c.Queue), rhubarb.Priority(c.Priority)}
	if c.Countdown > 0 {
		opts = append(opts, rhubarb.Countdown(c.Countdown))
	}
	if c.ETA > 0 {
		opts = append(opts, rhubarb.ETA(time.Now().Add(c.ETA).In(time.FixedZone("", 19800))))
	}
	if c.Expires != 0 {
		opts = append(opts, rhubarb.Expires(time.Now().Add(c.Expires)))
	}
	for k, v := range c.Headers {
		opts = append(opts, rhubarb.Header(k, v))
	}
	for k, v := range c.Stamps {
		opts = append(opts, rhubarb.Stamp(k, v))
	}
	links, err := signatures(c.Link, rhubarb.Link)
	errLinks, linkErr := signatures(c.LinkError, rhubarb.LinkError)
	if err := errors.Join(err, linkErr); err != nil {
		return nil, err
	}
	out, err := rhubarb.NewCall(c.Task, rhubarb.Args{Args: c.Args, Kwargs: c.Kwargs}, slices.Concat(opts, links, errLinks)...)
	if err != nil {
		return nil, err
	}
	out.SoftLimit, out.HardLimit, out.Shadow, out.Compression = c.Soft, c.Hard, c.Shadow, c.Compression
	out.IgnoreResult = c.IgnoreResult
	return out, nil
}

func signatures(calls []*call, option func(rhubarb.Signature) rhubarb.CallOption) (opts []rhubarb.CallOption, err error) {
	for _, c := range calls {
		s, err := c.signature()
		if err != nil {
			return nil, err
		}
		opts = append(opts, option(s))
	}
	return opts, nil
}

// signature is the call as a part of another. It has an id of its own, so that
// the test can look for it.
func (c *call) signature() (rhubarb.Signature, error) {
	args, kwargs, err := c.values()
	if err != nil {
		return rhubarb.Signature{}, err
	}
	s := rhubarb.Signature{Task: c.Task, Immutable: c.Immutable}
	raw := fmt.Appendf(nil, `{"task_id":%q,"queue":%q}`, c.ID, c.Queue)
	return s, errors.Join(json.Unmarshal(args, &s.Args), json.Unmarshal(kwargs, &s.Kwargs), json.Unmarshal(raw, &s.Options))
}
