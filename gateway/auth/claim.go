package auth

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
)

// maxClaim bounds the JSON of permissions, wherever it comes from.
const maxClaim = 8 << 10

// claim is the JSON form of permissions.
type claim struct {
	Groups  groupsClaim  `json:"groups,omitzero"`
	Streams streamsClaim `json:"streams,omitzero"`
	Tasks   tasksClaim   `json:"tasks,omitzero"`
}

type groupsClaim struct {
	Read  patterns `json:"read,omitzero"`
	Write patterns `json:"write,omitzero"`
}

type streamsClaim struct {
	Read patterns `json:"read,omitzero"`
}

type tasksClaim struct {
	Call   patterns `json:"call,omitzero"`
	Revoke patterns `json:"revoke,omitzero"`
}

type patterns []string

// IsZero leaves out empty lists, and so parts that hold nothing else.
func (p patterns) IsZero() bool { return len(p) == 0 }

func (c groupsClaim) IsZero() bool  { return c.Read.IsZero() && c.Write.IsZero() }
func (c streamsClaim) IsZero() bool { return c.Read.IsZero() }
func (c tasksClaim) IsZero() bool   { return c.Call.IsZero() && c.Revoke.IsZero() }

// Claim returns the permissions as the private claim "rhubarb" of a token and
// the header X-Rhubarb-Grant hold them. User and Expires are not in it: a token
// has them in sub and exp.
func (g *Grant) Claim() json.RawMessage {
	raw, err := json.Marshal(claim{
		Groups:  groupsClaim{g.ReadGroups, g.WriteGroups},
		Streams: streamsClaim{g.ReadStreams},
		Tasks:   tasksClaim{g.CallTasks, g.RevokeTasks},
	})
	if err != nil {
		panic("auth: write a claim: " + err.Error()) // strings alone cannot fail
	}
	return raw
}

// errClaim does not quote what it found: the claim is part of a token.
var errClaim = errors.New(`must be {"groups": {"read": […], "write": […]}, "streams": {"read": […]}, ` +
	`"tasks": {"call": […], "revoke": […]}} of patterns, with nothing else in it`)

// readClaim reads permissions. An unknown part is an error: one that is
// misspelt would allow less, or a restriction from a later version more, than
// was meant.
func readClaim(raw []byte) (Grant, error) {
	if len(raw) > maxClaim {
		return Grant{}, errors.New("has more than 8 KiB")
	}
	var c claim
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if dec.Decode(&c) != nil {
		return Grant{}, errClaim
	}
	if _, err := dec.Token(); err != io.EOF {
		return Grant{}, errClaim
	}
	return Grant{
		ReadGroups:  c.Groups.Read,
		WriteGroups: c.Groups.Write,
		ReadStreams: c.Streams.Read,
		CallTasks:   c.Tasks.Call,
		RevokeTasks: c.Tasks.Revoke,
	}, nil
}
