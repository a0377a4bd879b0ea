package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/rhubarb-go/rhubarb"
	"github.com/rhubarb-go/rhubarb/engine"
)

// call sends a task.
func (g *Gateway) call(w http.ResponseWriter, r *http.Request) {
	c, err := g.readCall(w, r)
	if err == nil {
		err = g.send(w, r, c)
	}
	if err != nil {
		g.fail(w, r, err)
	}
}

// readCall makes the call that a request asks for. Its errors are the
// client's: each is a problem.
func (g *Gateway) readCall(w http.ResponseWriter, r *http.Request) (*rhubarb.Call, error) {
	name := r.PathValue("id")
	def := g.tasks[name]
	if def == nil && g.opts.Unknown == UnknownRefuse {
		return nil, problem{Status: http.StatusNotFound, Detail: fmt.Sprintf("there is no task %q here; see %s/openapi.json for those that are", name, g.opts.Prefix)}
	}
	body, err := g.readBody(w, r)
	if err != nil {
		return nil, err
	}
	req, err := parseCall(body)
	if err != nil {
		return nil, err
	}
	opts, errs := readOptions(req.options)
	key, err := idempotencyKey(r)
	if err != nil {
		return nil, err
	}
	if key != "" {
		opts = append(opts, rhubarb.IdempotencyKey(key, 0))
	}
	c, err := NewCall(name, def, req.args, req.kwargs, opts...)
	var wrong *ArgumentsError
	if errors.As(err, &wrong) {
		errs = append(wrong.Fields, errs...)
	}
	if len(errs) > 0 {
		return nil, fields(http.StatusUnprocessableEntity, errs...)
	}
	if err == nil {
		err = Check(g.app, c)
	}
	if err != nil {
		return nil, problem{Status: http.StatusUnprocessableEntity, Detail: plain(err)}
	}
	return c, nil
}

// idempotencyKey reads the header: a bare word or, as the IETF's draft has it,
// a quoted string (draft-ietf-httpapi-idempotency-key-header, 2.1).
func idempotencyKey(r *http.Request) (string, error) {
	values := r.Header.Values("Idempotency-Key")
	if len(values) == 0 {
		return "", nil
	}
	key := strings.TrimSpace(values[0])
	if n := len(key); n >= 2 && key[0] == '"' && key[n-1] == '"' {
		key = key[1 : n-1]
	}
	if len(values) > 1 || key == "" || len(key) > engine.MaxID || invalidUTF8([]byte(key)) >= 0 {
		return "", problem{Status: http.StatusBadRequest, Detail: fmt.Sprintf("the header Idempotency-Key must be there once with 1 to %d bytes of UTF-8", engine.MaxID)}
	}
	return key, nil
}

func (g *Gateway) send(w http.ResponseWriter, r *http.Request, c *rhubarb.Call) error {
	sent := g.app.Send(r.Context(), c)[0]
	if sent.Err != nil {
		return sent.Err
	}
	if sent.Duplicate {
		w.Header().Set("Idempotency-Replayed", "true")
	}
	w.Header().Set("Location", g.opts.Prefix+"/tasks/"+url.PathEscape(sent.ID))
	writeJSON(w, "application/json", http.StatusAccepted, map[string]string{"id": sent.ID})
	return nil
}

// state answers with what is known of a task, at once or after its end.
func (g *Gateway) state(w http.ResponseWriter, r *http.Request) {
	id, err := taskID(r)
	if err != nil {
		g.fail(w, r, err)
		return
	}
	wait, err := g.waitOf(r)
	if err != nil {
		g.fail(w, r, err)
		return
	}
	s, err := g.await(r.Context(), id, wait)
	if err != nil {
		g.fail(w, r, err)
		return
	}
	writeJSON(w, "application/json", http.StatusOK, StateOf(s))
}

func taskID(r *http.Request) (string, error) {
	id := r.PathValue("id")
	return id, checkTaskID(id)
}

func checkTaskID(id string) error {
	if id == "" || len(id) > engine.MaxID || invalidUTF8([]byte(id)) >= 0 {
		return problem{Status: http.StatusBadRequest, Detail: fmt.Sprintf("the task id has %d bytes, it needs 1 to %d of UTF-8", len(id), engine.MaxID)}
	}
	return nil
}

func (g *Gateway) waitOf(r *http.Request) (time.Duration, error) {
	s := r.URL.Query().Get("wait")
	if s == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return 0, problem{Status: http.StatusBadRequest, Detail: fmt.Sprintf("wait=%s is not a duration such as 30s", s)}
	}
	return min(d, g.opts.MaxWait), nil
}

// await returns the final state, or the present one after the wait or when the
// gateway drains.
func (g *Gateway) await(ctx context.Context, id string, wait time.Duration) (rhubarb.State, error) {
	res := g.app.Result(id)
	if wait <= 0 {
		return res.State(ctx)
	}
	watch, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	stop := make(chan struct{})
	defer close(stop)
	go func() { // ends with this call
		select {
		case <-g.done:
			cancel()
		case <-stop:
		}
	}()
	for s, err := range res.Watch(watch) {
		if err != nil && watch.Err() != nil {
			break
		}
		if err != nil || s.Ready() {
			return s, err
		}
	}
	return res.State(ctx)
}

func (g *Gateway) revoke(w http.ResponseWriter, r *http.Request) {
	id, err := taskID(r)
	if err == nil {
		err = g.app.Revoke(r.Context(), id)
	}
	if err != nil {
		g.fail(w, r, err)
		return
	}
	writeJSON(w, "application/json", http.StatusAccepted, map[string]string{"id": id})
}

// fail answers with an error: the client's own, or the engine's.
func (g *Gateway) fail(w http.ResponseWriter, r *http.Request, err error) {
	var p problem
	switch {
	case errors.As(err, &p):
	case r.Context().Err() != nil:
		return // nobody reads the answer
	case errors.Is(err, engine.ErrLimit):
		p = problem{Status: http.StatusRequestEntityTooLarge, Detail: plain(err)}
	case errors.Is(err, engine.ErrFull):
		p = problem{Status: http.StatusInsufficientStorage, Detail: plain(err), after: 30}
	default:
		g.log.Error("engine failed", "path", r.URL.Path, "err", err)
		p = problem{Status: http.StatusServiceUnavailable, after: 2, Detail: "the engine did not answer, try again: " + plain(err)}
	}
	if g.later(w, r, p) {
		return
	}
	if w.Header().Get("Vary") == "" { // of a stream, that does this itself
		g.share(w, r, "")
	}
	p.write(w)
}

func plain(err error) string { return strings.TrimPrefix(err.Error(), "rhubarb: ") }
