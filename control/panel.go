package control

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"
)

// command is one method of the panel. celery/worker/control.py.
type command struct {
	name string   // of the Python function where the method is an alias
	need []string // arguments that must be there
	may  []string // and that can be
	open bool     // others are ignored: the function has **kwargs
	run  func(s *Server, ctx context.Context, a arguments) (any, error)
}

// panel is every command, under every name.
var panel = map[string]command{
	"ping":   {open: true, run: (*Server).ping},
	"report": {run: (*Server).report},
	"clock":  {open: true, run: (*Server).tell},
	"stats":  {open: true, run: (*Server).stats},
	"hello":  {need: []string{"from_node"}, open: true, run: (*Server).hello},

	"conf":      {open: true, run: (*Server).conf},
	"dump_conf": {name: "conf", open: true, run: (*Server).conf},

	"active":        {open: true, run: (*Server).active},
	"dump_active":   {name: "active", open: true, run: (*Server).active},
	"reserved":      {open: true, run: (*Server).reserved},
	"dump_reserved": {name: "reserved", open: true, run: (*Server).reserved},
	"scheduled":     {open: true, run: (*Server).scheduled},
	"dump_schedule": {name: "scheduled", open: true, run: (*Server).scheduled},
	"registered":    {open: true, run: (*Server).registered},
	"dump_tasks":    {name: "registered", open: true, run: (*Server).registered},
	"revoked":       {open: true, run: (*Server).listRevoked},
	"dump_revoked":  {name: "revoked", open: true, run: (*Server).listRevoked},
	"active_queues": {run: (*Server).queues},
	"query_task":    {need: []string{"ids"}, open: true, run: (*Server).query},

	"memsample": {open: true, run: (*Server).memsample},
	"memdump":   {open: true, run: (*Server).memdump},
	"objgraph":  {may: []string{"num", "max_depth", "type"}, run: (*Server).objgraph},

	"revoke":                    {need: []string{"task_id"}, open: true, run: (*Server).revoke},
	"terminate":                 {need: []string{"signal", "task_id"}, open: true, run: (*Server).terminate},
	"revoke_by_stamped_headers": {need: []string{"headers"}, open: true, run: (*Server).revokeStamped},

	"rate_limit":      {need: []string{"task_name", "rate_limit"}, open: true, run: (*Server).rateLimit},
	"time_limit":      {open: true, run: (*Server).timeLimit},
	"pool_grow":       {open: true, run: (*Server).grow},
	"pool_shrink":     {open: true, run: (*Server).shrink},
	"pool_restart":    {open: true, run: (*Server).restart},
	"autoscale":       {may: []string{"max", "min"}, run: (*Server).autoscale},
	"add_consumer":    {need: []string{"queue"}, open: true, run: (*Server).addConsumer},
	"cancel_consumer": {need: []string{"queue"}, open: true, run: (*Server).cancelConsumer},
	"shutdown":        {open: true, run: (*Server).shutdown},

	"enable_events":  {run: (*Server).enableEvents},
	"disable_events": {run: (*Server).disableEvents},
	"heartbeat":      {run: (*Server).heartbeat},
	"election":       {need: []string{"id", "topic"}, open: true, run: (*Server).election},
}

type okReply struct {
	OK string `json:"ok"`
}

type nokReply struct {
	Error string `json:"error"`
}

func ok(format string, args ...any) okReply { return okReply{fmt.Sprintf(format, args...)} }
func nok(text string) nokReply              { return nokReply{text} }

func (s *Server) ping(context.Context, arguments) (any, error) { return ok("pong"), nil }

func (s *Server) tell(context.Context, arguments) (any, error) {
	return map[string]uint64{"clock": s.clock.Now()}, nil
}

func (s *Server) stats(context.Context, arguments) (any, error) {
	st := s.node.Stats()
	st.Clock, st.PID, st.RUsage = strconv.FormatUint(s.clock.Now(), 10), os.Getpid(), usage()
	return st, nil
}

// hello answers a node that starts; nobody answers itself.
func (s *Server) hello(_ context.Context, a arguments) (any, error) {
	from, err := a.text("from_node")
	if err != nil || from == s.name {
		return nil, err
	}
	var theirs revokedIDs
	if raw := a["revoked"]; raw != nil {
		if err := json.Unmarshal(raw, &theirs); err != nil {
			return nil, failure{"TypeError", "revoked must be an iterable of ids"}
		}
	}
	s.revoked.add(theirs...)
	return struct {
		Revoked map[string][]any `json:"revoked"`
		Clock   uint64           `json:"clock"`
	}{s.known(), s.clock.Forward()}, nil
}

// report is celery/app/utils.py BUGREPORT_INFO with our own facts.
func (s *Server) report(context.Context, arguments) (any, error) {
	version := "(devel)"
	if info, found := debug.ReadBuildInfo(); found {
		for _, m := range append(info.Deps, &info.Main) {
			if m.Path == "github.com/rhubarb-go/rhubarb" && m.Version != "" {
				version = m.Version
			}
		}
	}
	st := s.node.Stats()
	var b strings.Builder
	fmt.Fprintf(&b, "\nsoftware -> rhubarb:%s go:%s\n", version, strings.TrimPrefix(runtime.Version(), "go"))
	fmt.Fprintf(&b, "platform -> system:%s arch:%s\n            kernel version:- imp:%s\n", system(), runtime.GOARCH, runtime.Compiler)
	fmt.Fprintf(&b, "loader   -> %s\nsettings -> transport:%s results:%s\n\n", st.Pool.Implementation, st.Broker.Transport, s.results())
	for _, set := range s.settings(false) {
		fmt.Fprintf(&b, "%s: %s\n", set.Name, reprValue(set.Value))
	}
	return okReply{b.String()}, nil
}

func (s *Server) results() string {
	for _, set := range s.settings(true) {
		if set.Name == "result_backend" {
			return fmt.Sprint(set.Value)
		}
	}
	return "disabled"
}

// system is Python's platform.system().
func system() string {
	return strings.ToUpper(runtime.GOOS[:1]) + runtime.GOOS[1:]
}

func reprValue(v any) string {
	raw, err := encode(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return reprJSON(raw)
}

// shutdown is the one command that a worker does not answer: in Python it is an
// exception that ends the loop.
func (s *Server) shutdown(_ context.Context, a arguments) (any, error) {
	reason, err := a.text("msg")
	if err != nil || reason == "" {
		reason = "Got shutdown from remote"
	}
	s.log.Warn("shutdown by remote control", "reason", reason)
	s.node.Shutdown(reason)
	return nil, errNoReply
}

func (s *Server) memsample(context.Context, arguments) (any, error) {
	if bytes := resident(); bytes > 0 {
		return humanBytes(bytes), nil
	}
	return nil, nil // as in Python without psutil
}

// memdump: celery/utils/debug.py memdump without samples.
func (s *Server) memdump(context.Context, arguments) (any, error) {
	if bytes := resident(); bytes > 0 {
		return "- rss (end): " + humanBytes(bytes) + ".\n", nil
	}
	return "- rss: (psutil not installed).\n", nil
}

func (s *Server) objgraph(context.Context, arguments) (any, error) {
	return nil, failure{"ImportError", "Requires the objgraph library"}
}

// humanBytes: celery/utils/debug.py humanbytes and hfloat, five digits.
func humanBytes(n int64) string {
	for _, u := range []struct {
		size float64
		name string
	}{{1 << 40, "TB"}, {1 << 30, "GB"}, {1 << 20, "MB"}, {1 << 10, "KB"}} {
		if f := float64(n) / u.size; f >= 1 {
			return strconv.FormatFloat(f, 'g', 5, 64) + u.name
		}
	}
	return strconv.FormatInt(n, 10) + "b"
}

func (s *Server) restart(context.Context, arguments) (any, error) {
	return nil, failure{"ValueError", "Pool restarts not enabled"}
}

func (s *Server) autoscale(context.Context, arguments) (any, error) {
	return nil, failure{"ValueError", "Autoscale not enabled"}
}

func (s *Server) grow(_ context.Context, a arguments) (any, error) {
	return s.resize(a, 1, "pool will grow")
}

func (s *Server) shrink(_ context.Context, a arguments) (any, error) {
	return s.resize(a, -1, "pool will shrink")
}

// maxGrow bounds one change of a pool.
const maxGrow = 1 << 20

func (s *Server) resize(a arguments, sign int, text string) (any, error) {
	n, err := a.number("n", 1)
	if err != nil {
		return nil, err
	}
	if n != float64(int64(n)) || n < -maxGrow || n > maxGrow {
		return nil, failure{"ValueError", "n must be a whole number of at most " + strconv.Itoa(maxGrow)}
	}
	if err := s.node.Resize(sign * int(n)); err != nil {
		return nil, failure{"ValueError", err.Error()}
	}
	s.log.Info("pool resized by remote control", "by", sign*int(n))
	return ok("%s", text), nil
}

// modifiers of a rate: celery/utils/time.py RATE_MODIFIER_MAP.
var modifiers = map[string]float64{"": 1, "s": 1, "m": 60, "h": 3600}

// readRate reads "10/m", "5", 5 or null as runs per second; 0 is any number.
// celery/utils/time.py rate.
func (a arguments) readRate(name string) (perSecond float64, text string, err error) {
	if !a.truth(name) {
		return 0, "", nil
	}
	text, unit := strings.Trim(string(a[name]), `"`), ""
	number, unit, _ := strings.Cut(text, "/")
	if number == "" {
		return 0, "", failure{"ValueError", "could not convert string to float: ''"}
	}
	per, known := modifiers[unit]
	n, parseErr := strconv.ParseFloat(strings.TrimSpace(number), 64)
	switch {
	case !known:
		return 0, "", failure{"KeyError", unit}
	case parseErr != nil || n != n || n < 0 || n > 1e9:
		return 0, "", failure{"ValueError", "could not convert string to float: " + reprText(number)}
	}
	return n / per, text, nil
}

func (s *Server) rateLimit(_ context.Context, a arguments) (any, error) {
	rate, text, err := a.readRate("rate_limit")
	if f, wrong := err.(failure); wrong && f.kind == "ValueError" {
		return nok("Invalid rate limit string: " + f.Error()), nil
	}
	if err != nil {
		return nil, err
	}
	task, err := a.text("task_name")
	if err != nil {
		return nil, err
	}
	if !s.node.SetRate(task, rate, text) {
		return nok("unknown task"), nil
	}
	s.log.Info("rate limit by remote control", "task", task, "rate", text)
	if rate == 0 {
		return ok("rate limit disabled successfully"), nil
	}
	return ok("new rate limit set successfully"), nil
}

func (s *Server) timeLimit(_ context.Context, a arguments) (any, error) {
	task, err := a.text("task_name")
	if err != nil {
		return nil, err
	}
	var limits [2]time.Duration
	for i, name := range []string{"soft", "hard"} {
		n, err := a.number(name, 0)
		if err != nil {
			return nil, err
		}
		if n != n || n < 0 || n > 1e9 {
			return nil, failure{"ValueError", name + " is not a number of seconds"}
		}
		limits[i] = time.Duration(n * float64(time.Second))
	}
	if !s.node.SetLimits(task, limits[0], limits[1]) {
		return nok("unknown task"), nil
	}
	s.log.Info("time limits by remote control", "task", task, "soft", limits[0], "hard", limits[1])
	return ok("time limits set successfully"), nil
}

func (s *Server) addConsumer(ctx context.Context, a arguments) (any, error) {
	return s.queue(ctx, a, s.node.AddQueue, "add consumer %s")
}

func (s *Server) cancelConsumer(ctx context.Context, a arguments) (any, error) {
	return s.queue(ctx, a, s.node.CancelQueue, "no longer consuming from %s")
}

func (s *Server) queue(ctx context.Context, a arguments, change func(context.Context, string) error, text string) (any, error) {
	name, err := a.text("queue")
	if err != nil {
		return nil, err
	}
	if err := change(ctx, name); err != nil {
		return nil, err
	}
	s.log.Info("queues by remote control", "queues", slices.Sorted(slices.Values(s.node.Queues())))
	return ok(text, name), nil
}

// noEvents is the answer of a node that has nothing to send events with.
const noEvents = "event dispatcher unavailable"

func (s *Server) enableEvents(context.Context, arguments) (any, error) {
	e := s.node.Events()
	if e == nil {
		return nok(noEvents), nil
	}
	if e.Enable() {
		return ok("task events enabled"), nil
	}
	return ok("task events already enabled"), nil
}

func (s *Server) disableEvents(context.Context, arguments) (any, error) {
	e := s.node.Events()
	if e == nil {
		return nok(noEvents), nil
	}
	if e.Disable() {
		return ok("task events disabled"), nil
	}
	return ok("task events already disabled"), nil
}

func (s *Server) heartbeat(context.Context, arguments) (any, error) {
	if e := s.node.Events(); e != nil {
		e.Heartbeat()
	}
	return nil, nil
}

// election: a Go worker votes, as its events do, but does not stand for
// election: it could not do what the winner must, which is to send a signature
// in Python's terms.
func (s *Server) election(context.Context, arguments) (any, error) { return nil, nil }
