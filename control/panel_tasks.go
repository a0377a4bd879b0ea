package control

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"sync"
)

func (s *Server) active(_ context.Context, a arguments) (any, error) {
	return s.held(true, a.truth("safe")), nil
}

func (s *Server) reserved(context.Context, arguments) (any, error) {
	return s.held(false, false), nil
}

// held lists what runs, or what does not; safe shows arguments as texts.
func (s *Server) held(running, safe bool) []Invocation {
	list := []Invocation{}
	for _, h := range s.node.Held() {
		if (h.TimeStart != nil) == running {
			list = append(list, h.shown(safe))
		}
	}
	return list
}

func (h Held) shown(safe bool) Invocation {
	inv := h.Invocation
	if safe {
		inv.Args, inv.Kwargs = quoted(h.ArgsRepr), quoted(h.KwargsRepr)
	}
	return inv
}

func quoted(s string) json.RawMessage {
	raw, err := encode(s)
	if err != nil { // a string always encodes
		return json.RawMessage(`""`)
	}
	return raw
}

// scheduled: calls with a time wait in the engine, not here.
func (s *Server) scheduled(context.Context, arguments) (any, error) { return []Scheduled{}, nil }

func (s *Server) listRevoked(context.Context, arguments) (any, error) {
	ids, _ := s.revoked.list()
	if ids == nil {
		ids = []string{}
	}
	return ids, nil
}

// shownAttributes: celery/worker/control.py DEFAULT_TASK_INFO_ITEMS.
var shownAttributes = []string{"exchange", "routing_key", "rate_limit"}

// maxItems bounds a list of ids or names in a request.
const maxItems = 50_000

func (s *Server) registered(_ context.Context, a arguments) (any, error) {
	items, err := a.texts("taskinfoitems", maxItems)
	if err != nil {
		return nil, err
	}
	if len(items) == 0 {
		items = shownAttributes
	}
	list := []string{}
	for _, t := range s.node.Registered() {
		if strings.HasPrefix(t.Name, "celery.") && !a.truth("builtins") {
			continue
		}
		list = append(list, t.shown(items))
	}
	slices.Sort(list)
	return list, nil
}

func (t Registered) shown(items []string) string {
	var has []string
	for _, item := range items {
		if v, ok := t.Attributes[item]; ok {
			has = append(has, item+"="+v)
		}
	}
	if len(has) == 0 {
		return t.Name
	}
	return t.Name + " [" + strings.Join(has, " ") + "]"
}

func (s *Server) query(_ context.Context, a arguments) (any, error) {
	ids, err := a.texts("ids", maxItems)
	if err != nil {
		return nil, err
	}
	wanted := map[string]bool{}
	for _, id := range ids {
		wanted[id] = true
	}
	found := map[string]Found{}
	for _, h := range s.node.Held() {
		if !wanted[h.ID] {
			continue
		}
		state := "reserved"
		if h.TimeStart != nil {
			state = "active"
		}
		found[h.ID] = Found{state, h.Invocation}
	}
	return found, nil
}

func (s *Server) queues(context.Context, arguments) (any, error) {
	list := []Queue{}
	for _, name := range s.node.Queues() {
		list = append(list, Queue{
			Name: name, Exchange: Exchange{Name: name, Type: "direct", Durable: true},
			RoutingKey: name, Durable: true, Bindings: json.RawMessage("[]"),
		})
	}
	return list, nil
}

func (s *Server) revoke(ctx context.Context, a arguments) (any, error) {
	ids, err := a.texts("task_id", maxItems)
	if err != nil {
		return nil, err
	}
	return s.revokeIDs(ctx, ids, a.truth("terminate"))
}

// terminate: the signal means nothing to a goroutine.
func (s *Server) terminate(ctx context.Context, a arguments) (any, error) {
	ids, err := a.texts("task_id", maxItems)
	if err != nil {
		return nil, err
	}
	return s.revokeIDs(ctx, ids, true)
}

// revokeIDs revokes and says what Python says: celery/worker/control.py revoke
// and _revoke.
func (s *Server) revokeIDs(ctx context.Context, ids []string, terminate bool) (any, error) {
	ids = slices.Compact(slices.Sorted(slices.Values(ids)))
	var here []string
	for _, h := range s.node.Held() {
		if _, wanted := slices.BinarySearch(ids, h.ID); wanted {
			here = append(here, h.ID)
		}
	}
	s.revoked.add(ids...)
	if err := s.node.Revoke(ctx, ids); err != nil {
		return nil, err
	}
	s.log.Info("tasks revoked by remote control", "ids", len(ids), "held", len(here))
	switch {
	case !terminate:
		return ok("tasks %s flagged as revoked", reprSet(ids)), nil
	case len(here) == 0:
		return ok("terminate: tasks unknown"), nil
	}
	return ok("terminate: %s", strings.Join(here, ", ")), nil
}

// stamps are the stamped headers whose tasks are revoked. The zero value is
// ready to use.
type stamps struct {
	mu     sync.Mutex
	values map[string]map[string]bool
	n      int
}

// maxStamps bounds the values that are remembered, over all headers.
const maxStamps = maxRevoked

func (st *stamps) add(headers map[string][]string) error {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.values == nil {
		st.values = map[string]map[string]bool{}
	}
	for header, values := range headers {
		if st.values[header] == nil {
			st.values[header] = map[string]bool{}
		}
		for _, v := range values {
			if st.values[header][v] {
				continue
			}
			if st.n == maxStamps {
				return failure{"MemoryError", "this worker remembers no more stamps"}
			}
			st.values[header][v] = true
			st.n++
		}
	}
	return nil
}

// RevokedStamps reports whether a task with these stamps was revoked by
// [RevokeStamped]. Unlike ids, stamps are forgotten when the worker stops, as in
// Celery.
func (s *Server) RevokedStamps(of map[string][]string) bool {
	st := &s.stamps
	st.mu.Lock()
	defer st.mu.Unlock()
	for header, values := range of {
		for _, v := range values {
			if st.values[header][v] {
				return true
			}
		}
	}
	return false
}

// revokeStamped: celery/worker/control.py revoke_by_stamped_headers.
func (s *Server) revokeStamped(ctx context.Context, a arguments) (any, error) {
	headers, shown, err := readStamps(a["headers"])
	if err != nil {
		return nil, err
	}
	if err := s.stamps.add(headers); err != nil {
		return nil, err
	}
	s.log.Info("stamps revoked by remote control", "headers", len(headers))
	if !a.truth("terminate") {
		return ok("headers %s flagged as revoked, but not terminated", shown), nil
	}
	ids, matched := s.stamped(headers)
	if len(ids) == 0 {
		return ok("headers %s were not terminated", shown), nil
	}
	if err := s.node.Revoke(ctx, ids); err != nil {
		return nil, err
	}
	var texts []string
	for _, header := range slices.Sorted(maps.Keys(matched)) {
		texts = append(texts, reprText(header)+": "+reprSet(matched[header]))
	}
	// Python formats a defaultdict there.
	return ok("headers defaultdict(<class 'set'>, {%s}) revoked", strings.Join(texts, ", ")), nil
}

// stamped finds what runs with one of the stamps, and which those were.
func (s *Server) stamped(headers map[string][]string) (ids []string, matched map[string][]string) {
	matched = map[string][]string{}
	for _, h := range s.node.Held() {
		hit := false
		for header, values := range headers {
			for _, v := range h.Stamps[header] {
				if h.TimeStart == nil || !slices.Contains(values, v) {
					continue
				}
				if hit = true; !slices.Contains(matched[header], v) {
					matched[header] = append(matched[header], v)
				}
			}
		}
		if hit {
			ids = append(ids, h.ID)
		}
	}
	return ids, matched
}

// readStamps reads {"header": "stamp" or ["stamp"]}, or ["header=stamp"], and
// shows it as Python would.
func readStamps(raw json.RawMessage) (headers map[string][]string, shown string, err error) {
	wrong := failure{"ValueError", "headers must be an object, or a list of texts like header=stamp"}
	if len(raw) > 0 && raw[0] == '[' {
		var pairs []string
		if json.Unmarshal(raw, &pairs) != nil || len(pairs) > maxItems {
			return nil, "", wrong
		}
		flat := map[string]string{}
		for _, p := range pairs {
			parts := strings.Split(p, "=")
			if len(parts) < 2 {
				return nil, "", failure{"IndexError", "list index out of range"}
			}
			flat[parts[0]] = parts[1]
		}
		raw, err = encode(flat)
		if err != nil {
			return nil, "", wrong
		}
	}
	var values map[string]json.RawMessage
	if json.Unmarshal(raw, &values) != nil || values == nil {
		return nil, "", wrong
	}
	headers = make(map[string][]string, len(values))
	for header, v := range values {
		list, err := oneOrMore(v)
		if err != nil {
			return nil, "", wrong
		}
		headers[header] = list
	}
	return headers, reprJSON(raw), nil
}
