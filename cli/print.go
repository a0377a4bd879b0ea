package cli

import (
	"bufio"
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/rhubarb-go/rhubarb/engine"
)

// print writes a document in one line.
func (e *Env) print(v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(e.Stdout, "%s\n", raw)
	return err
}

// note tells a person what was done, and stays silent for programs.
func (e *Env) note(format string, args ...any) {
	if !e.JSON {
		fmt.Fprintf(e.Stderr, format+"\n", args...)
	}
}

// confirm asks before something that cannot be undone. Without a person to
// ask it refuses.
func (e *Env) confirm(question string) error {
	if !e.asks {
		return badInput("%s Say so with --yes", question)
	}
	fmt.Fprintf(e.Stderr, "%s [y/N] ", question)
	line, _ := bufio.NewReader(e.Stdin).ReadString('\n') // an end without an answer is a no
	switch strings.ToLower(strings.TrimSpace(line)) {
	case "y", "yes":
		return nil
	}
	return Exit(Failed, fmt.Errorf("nothing was dropped"))
}

// table writes aligned columns.
type table struct {
	w *tabwriter.Writer
}

func (e *Env) table(header ...any) table {
	t := table{tabwriter.NewWriter(e.Stdout, 0, 0, 2, ' ', 0)}
	if len(header) > 0 {
		t.row(header...)
	}
	return t
}

func (t table) row(cells ...any) {
	texts := make([]string, len(cells))
	for i, c := range cells {
		if p, ok := c.(painted); ok {
			texts[i] = string(p)
			continue
		}
		texts[i] = strings.Join(strings.Fields(safe(fmt.Sprint(c))), " ")
	}
	fmt.Fprintln(t.w, strings.Join(texts, "\t"))
}

func (t table) flush() error { return t.w.Flush() }

// Colours of a terminal. ECMA-48 SGR.
const (
	red    = "31"
	green  = "32"
	yellow = "33"
	dim    = "2"
)

// painted is text with colours, or text that wants none.
type painted string

func (e *Env) paint(color, s string) painted {
	s = e.text(s)
	if !e.color || color == "" {
		return painted(s)
	}
	return painted("\x1b[" + color + "m" + s + "\x1b[0m")
}

// text is what a stranger wrote, as it is, but on a terminal without what
// could steer it.
func (e *Env) text(s string) string {
	if e.tty {
		return safe(s)
	}
	return s
}

func statusColor(status string) string {
	switch status {
	case engine.Success:
		return green
	case engine.Failure, engine.Rejected:
		return red
	case engine.Retry, engine.Revoked:
		return yellow
	case engine.Pending, engine.Ignored:
		return dim
	}
	return ""
}

// plainJSON shows a JSON string as its text and all else as it is.
func plainJSON(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		if len(raw) > 0 && raw[0] == '"' {
			return s
		}
	}
	if len(raw) == 0 {
		return "null"
	}
	return string(raw)
}

// maxShown bounds what is shown of a body on a terminal, in bytes.
const maxShown = 4 << 10

// printable shows bytes that may be anything.
func printable(b []byte) string {
	more := ""
	if len(b) > maxShown {
		b, more = b[:maxShown], fmt.Sprintf(" … (%d bytes more)", len(b)-maxShown)
	}
	if !utf8.Valid(b) {
		return fmt.Sprintf("%q", b) + more
	}
	return string(b) + more
}

// safe replaces control characters, those of line and tab apart.
func safe(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' && r != '\t' {
			return '\uFFFD'
		}
		return r
	}, s)
}

// human shows a duration in its two largest units.
func human(d time.Duration) string {
	switch {
	case d < 0:
		return "0s"
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", d/time.Minute, d%time.Minute/time.Second)
	case d < 24*time.Hour:
		return fmt.Sprintf("%dh%02dm", d/time.Hour, d%time.Hour/time.Minute)
	}
	return fmt.Sprintf("%dd%02dh", d/(24*time.Hour), d%(24*time.Hour)/time.Hour)
}

func ago(d time.Duration) string {
	if d < time.Second {
		return "just now"
	}
	return human(d) + " ago"
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
