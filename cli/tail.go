package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/rhubarb-go/rhubarb"
	"github.com/rhubarb-go/rhubarb/engine"
	"github.com/rhubarb-go/rhubarb/gateway"
	"github.com/rhubarb-go/rhubarb/stream"
)

type tailCmd struct {
	ID      string        `arg:"" help:"The task's id."`
	From    string        `name:"from" placeholder:"POSITION" help:"Go on after that record (from the start)."`
	Timeout time.Duration `name:"timeout" placeholder:"30s" help:"Give up after that time; the task goes on."`
}

// Run follows the stream to its end. A task that failed is exit code 1.
func (c *tailCmd) Run(ctx context.Context, env *Env) error {
	if err := checkIDs(c.ID); err != nil {
		return err
	}
	if _, err := engine.Position(c.From).Cursor(c.ID); err != nil {
		return badInput("--from %.130s is not a position of this task's stream: leave it out to start over", c.From)
	}
	app, err := env.App(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := limit(ctx, c.Timeout)
	defer cancel()
	return follow(ctx, env, app, c.ID, engine.Position(c.From), false)
}

// follow shows a task's stream to its end, and then, if asked, its result.
func follow(ctx context.Context, env *Env, app *rhubarb.App, id string, from engine.Position, result bool) error {
	show := &screen{env: env}
	last, err := show.stream(ctx, app, id, from)
	show.rest()
	if err != nil {
		if ctx.Err() != nil && last != "" {
			env.note("go on with: %s tail %s --from %s", env.Name, id, last)
		}
		return waitError(ctx, id, err)
	}
	s, err := app.Result(id).State(ctx)
	switch {
	case err != nil:
		return engineError(err)
	case result && env.JSON:
		if err := env.print(gateway.StateOf(s)); err != nil {
			return err
		}
		return silent(verdict(s))
	case env.JSON:
		return silent(verdict(s))
	case s.Status == engine.Success && len(s.Meta) > 0 && (result || string(s.Meta) != "null"):
		_, err = fmt.Fprintln(env.Stdout, env.text(plainJSON(s.Meta)))
		return err
	}
	return verdict(s)
}

// stream shows records until the end and returns the last one's position.
func (s *screen) stream(ctx context.Context, app *rhubarb.App, id string, from engine.Position) (last engine.Position, err error) {
	last = from
	for r, err := range app.Result(id).Stream().Tail(ctx, from) {
		if err != nil {
			return last, err
		}
		if err := s.record(r); err != nil {
			return last, err
		}
		if last = r.Pos; r.Kind == engine.KindEnd {
			return last, nil
		}
	}
	if ctx.Err() != nil {
		return last, context.Cause(ctx)
	}
	return last, nil // the position given was the end
}

// screen shows a stream's records: on a terminal with a progress bar in the
// last line, else a line per record. Text that the task emits is appended as
// it comes.
type screen struct {
	env  *Env
	open bool // the last line has text that more may be appended to
	bar  bool // the last line is the progress bar
}

// recordDocument is a record as --json shows it.
type recordDocument struct {
	Position engine.Position `json:"position"`
	Attempt  int             `json:"attempt"`
	N        uint64          `json:"n"`
	Kind     engine.Kind     `json:"kind"`
	Data     any             `json:"data,omitempty"`
	Time     *time.Time      `json:"time,omitempty"`
}

func (s *screen) record(r engine.Record) error {
	if s.env.JSON {
		d := recordDocument{Position: r.Pos, Attempt: r.Attempt, N: r.N, Kind: r.Kind}
		switch {
		case json.Valid(r.Payload):
			d.Data = json.RawMessage(r.Payload)
		case len(r.Payload) > 0:
			d.Data = string(r.Payload)
		}
		if at := r.Time.UTC(); !r.Time.IsZero() {
			d.Time = &at
		}
		return s.env.print(d)
	}
	switch r.Kind {
	case engine.KindData:
		return s.data(r.Payload)
	case engine.KindProgress:
		return s.progress(r.Payload)
	case engine.KindState:
		return s.state(r.Payload)
	case engine.KindReset:
		if r.Attempt > 1 {
			return s.line(yellow, fmt.Sprintf("attempt %d: what came before is void", r.Attempt))
		}
	case engine.KindGap:
		return s.gap(r.Payload)
	}
	return nil
}

// data appends text; other values get a line each.
func (s *screen) data(payload []byte) error {
	if len(payload) == 0 || payload[0] != '"' {
		return s.line("", printable(payload))
	}
	text := s.env.text(plainJSON(payload))
	if text == "" {
		return nil
	}
	if s.bar {
		s.clear()
	}
	s.open = text[len(text)-1] != '\n'
	_, err := fmt.Fprint(s.env.Stdout, text)
	return err
}

func (s *screen) progress(payload []byte) error {
	var rec struct {
		gateway.StateProgress                       // the meta alone, from engines that keep that
		Result                gateway.StateProgress `json:"result"` // the state's result JSON
	}
	if json.Unmarshal(payload, &rec) != nil {
		return s.line("", "progress "+printable(payload))
	}
	p := rec.Result
	if p.Total == 0 {
		p = rec.StateProgress
	}
	if p.Total <= 0 {
		return s.line("", "progress "+printable(payload))
	}
	if !s.env.Terminal() {
		return s.line("", fmt.Sprintf("progress %d of %d", p.Current, p.Total))
	}
	if s.open {
		s.rest()
	}
	s.bar = true
	_, err := fmt.Fprint(s.env.Stdout, "\r\x1b[K"+string(s.env.paint(green, bar(p.Current, p.Total)))+
		fmt.Sprintf(" %3d%%  %d of %d", percent(p), p.Current, p.Total))
	return err
}

func percent(p gateway.StateProgress) int {
	return int(100 * min(max(float64(p.Current)/float64(p.Total), 0), 1))
}

// barWidth is the width of a progress bar in characters.
const barWidth = 30

// bar draws eighths of characters, so that it moves smoothly.
func bar(current, total int) string {
	eighths := int(min(max(float64(current)/float64(total), 0), 1) * barWidth * 8)
	out := make([]rune, 0, barWidth)
	for i := range barWidth {
		switch rest := eighths - 8*i; {
		case rest >= 8:
			out = append(out, '█')
		case rest > 0:
			out = append(out, []rune("▏▎▍▌▋▊▉")[rest-1])
		default:
			out = append(out, '░')
		}
	}
	return string(out)
}

// state shows a state that is not final: a retry with its reason, or what the
// task itself calls its state.
func (s *screen) state(payload []byte) error {
	var rec struct {
		Status string          `json:"status"`
		Result json.RawMessage `json:"result"`
	}
	if json.Unmarshal(payload, &rec) != nil {
		return s.line("", printable(payload))
	}
	text := rec.Status
	if len(rec.Result) > 0 && string(rec.Result) != "null" {
		text += " " + reason(rec.Result)
	}
	return s.line(statusColor(rec.Status), text)
}

// reason shows an exception by type and message, and other metas as they are.
func reason(result json.RawMessage) string {
	var x struct {
		Type    string          `json:"exc_type"`
		Message json.RawMessage `json:"exc_message"`
	}
	if json.Unmarshal(result, &x) != nil || x.Type == "" {
		return printable(result)
	}
	var args []string
	text := plainJSON(x.Message)
	if json.Unmarshal(x.Message, &args) == nil && len(args) > 0 {
		text = args[0]
	}
	return x.Type + ": " + text
}

// line writes a line of its own.
func (s *screen) line(color, text string) error {
	if s.bar {
		s.clear()
	}
	s.rest()
	_, err := fmt.Fprintln(s.env.Stdout, s.env.paint(color, text))
	return err
}

func (s *screen) gap(payload []byte) error {
	what := "records are"
	var g stream.Gap
	if json.Unmarshal(payload, &g) == nil && g.Missing > 0 {
		what = count(int(g.Missing), "record") + " are"
		if g.Missing == 1 {
			what = "1 record is"
		}
	}
	return s.line(yellow, what+" missing here: kept no longer")
}

// clear removes the bar.
func (s *screen) clear() {
	fmt.Fprint(s.env.Stdout, "\r\x1b[K")
	s.bar = false
}

// rest ends the line that is open, so that the next one begins fresh.
func (s *screen) rest() {
	if s.bar {
		s.clear()
	}
	if s.open {
		fmt.Fprintln(s.env.Stdout)
		s.open = false
	}
}
