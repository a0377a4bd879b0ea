package django_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"html"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rhubarb-go/rhubarb"
	"github.com/rhubarb-go/rhubarb/engine"
	"github.com/rhubarb-go/rhubarb/engine/dial"
	"github.com/rhubarb-go/rhubarb/interop"
)

// patience is how long anything may take, on a machine that is busy.
const patience = time.Minute

// TestMovingTheTask goes the way of docs/django.md: from Python to Go, both at
// once, the task routed to Go alone, and back.
func TestMovingTheTask(t *testing.T) {
	e := open(t)
	site := e.site(nil)
	routed := e.site([]string{"MAIL_QUEUE=go"})

	python := e.worker("python")
	e.sentBy(site, "Python")
	e.stop(python)

	golang := e.worker("go", "-Q", "celery,go")
	e.sentBy(site, "Go")

	e.worker("python")
	e.sentByBoth(site)
	e.sentBy(routed, "Go")

	later := e.later("go")
	e.stop(golang)
	e.sentBy(site, "Python")

	e.worker("python", "-n", "back@site", "-Q", "go")
	e.worker("go", "-Q", "handover") // for what waits in Go's keys
	if got, err := later.Get(e.soon()); got != "sent to later@example.org by Python" || err != nil {
		t.Errorf("the email for later: %q, %v; want it sent by Python", got, err)
	}
	e.sent["Python"]++
	e.checkFiles()
}

// example is the programs of this folder on a Redis of their own.
type example struct {
	*testing.T
	env   []string
	mails string // the folder of emails
	app   *rhubarb.App
	sent  map[string]int // how many emails the site's pages say that each sent
}

// open starts a first site, whose Redis the others share.
func open(t *testing.T) *example {
	interop.Find(t, "redis-server")
	interop.Find(t, "bash")
	want, err := os.ReadFile("requirements.txt")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(filepath.Join(".venv", "pins.txt")); err != nil || !bytes.Equal(got, want) {
		interop.Lack(t, "Django is not installed as requirements.txt says: run scripts/setup")
	}
	port := freePort(t)
	e := &example{T: t, mails: t.TempDir(), sent: map[string]int{}}
	e.env = append(os.Environ(), "CELERY_BROKER_URL=", "CELERY_RESULT_BACKEND=",
		"REDIS_PORT="+port, "MAIL_DIR="+e.mails, "MAIL_SECONDS=0.2")
	e.site(nil)
	e.env = append(e.env, "CELERY_BROKER_URL=redis://127.0.0.1:"+port+"/0")
	set, closeAll, err := dial.Dial(t.Context(), "redis://127.0.0.1:"+port+"/0", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := closeAll(); err != nil {
			t.Error(err)
		}
	})
	if e.app, err = rhubarb.New(set, nil); err != nil {
		t.Fatal(err)
	}
	return e
}

func freePort(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err := errors.Join(err, l.Close()); err != nil {
		t.Fatal(err)
	}
	return port
}

// start runs one of the example's scripts until the test ends.
func (e *example) start(env []string, ready string, script string, args ...string) *interop.Process {
	e.Helper()
	cmd := exec.Command(script, args...)
	cmd.Env = slices.Concat(e.env, env)
	p, _, err := interop.Start(cmd, regexp.MustCompile(ready))
	if err != nil {
		e.Fatal(err)
	}
	e.Cleanup(func() {
		if !p.Ended() {
			e.stop(p)
		}
	})
	return p
}

func (e *example) stop(p *interop.Process) {
	e.Helper()
	if err := p.Stop(); err != nil {
		e.Error(err)
	}
}

func (e *example) worker(kind string, options ...string) *interop.Process {
	e.Helper()
	return e.start(nil, `worker started|@site ready\.`, "./worker", append([]string{kind}, options...)...)
}

// site starts the site and returns a browser on its form.
func (e *example) site(env []string) *browser {
	e.Helper()
	port := freePort(e.T)
	e.start(slices.Concat(env, []string{"PORT=" + port}), "Starting development server", "./run")
	jar, err := cookiejar.New(nil)
	if err != nil {
		e.Fatal(err)
	}
	b := &browser{e.T, "http://127.0.0.1:" + port, http.Client{Jar: jar, Transport: &http.Transport{}, Timeout: patience}}
	e.Cleanup(b.CloseIdleConnections)
	return b
}

// sentBy sends some emails, all of which must be sent by the one.
func (e *example) sentBy(b *browser, who string) {
	e.Helper()
	for _, page := range []*page{b.send("a@example.org"), b.send("b@example.org"), b.send("c@example.org")} {
		if got := e.sender(b, page); got != who {
			e.Errorf("%s is sent by %s, want %s", page.to, got, who)
		}
	}
}

// sentByBoth sends emails two at a time until each of the workers had one.
func (e *example) sentByBoth(b *browser) {
	e.Helper()
	ctx := e.soon()
	seen := map[string]int{}
	for len(seen) < 2 {
		if ctx.Err() != nil {
			e.Fatalf("emails are sent by %v, want each to have some", seen)
		}
		for _, page := range []*page{b.send("both@example.org"), b.send("both@example.org")} {
			seen[e.sender(b, page)]++
		}
	}
}

// sender waits for the task and says who sent it, by what the site shows.
func (e *example) sender(b *browser, p *page) string {
	e.Helper()
	if _, err := rhubarb.ResultOf[string](e.app, p.id).Get(e.soon()); err != nil {
		e.Fatal(err)
	}
	b.load(p)
	who, ok := strings.CutPrefix(p.cells["result"], "sent to "+p.to+" by ")
	if !ok || p.cells["state"] != "SUCCESS" || p.cells["worker"] != strings.ToLower(who)+"@site" {
		e.Fatalf("the page of an email to %s shows %v", p.to, p.cells)
	}
	e.sent[who]++
	return who
}

// later has an email sent in some seconds. It is put aside at once, since the
// queue has a Go worker.
func (e *example) later(queue string) *rhubarb.Result[string] {
	e.Helper()
	call := &rhubarb.Call{Task: "mail.tasks.send_email", Queue: queue, ETA: time.Now().Add(5 * time.Second),
		Args: []json.RawMessage{[]byte(`"later@example.org"`)}}
	sent := e.app.Send(e.soon(), call)[0]
	if sent.Err != nil {
		e.Fatal(sent.Err)
	}
	queues, err := e.app.Engines().Broker.Queues(e.soon())
	if i := slices.IndexFunc(queues, func(q engine.QueueInfo) bool { return q.Name == queue }); i < 0 || queues[i].Delayed != 1 {
		e.Fatalf("queues are %+v, %v; want one message of %s put aside for later", queues, err, queue)
	}
	return rhubarb.ResultOf[string](e.app, sent.ID)
}

// soon ends when nobody would wait any longer.
func (e *example) soon() context.Context {
	ctx, cancel := context.WithTimeout(e.Context(), patience)
	e.Cleanup(cancel)
	return ctx
}

// checkFiles compares the emails with what the pages said.
func (e *example) checkFiles() {
	e.Helper()
	names, err := filepath.Glob(filepath.Join(e.mails, "*.log"))
	if err != nil {
		e.Fatal(err)
	}
	got := map[string]int{}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			e.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`(?m)^Sent by (\w+)\.$`).FindAllSubmatch(text, -1) {
			got[string(m[1])]++
		}
	}
	if !maps.Equal(got, e.sent) {
		e.Errorf("emails in files: %v, by the site's pages: %v", got, e.sent)
	}
}

// browser is a user of the site.
type browser struct {
	*testing.T
	url string
	http.Client
}

// page is what the site shows of one email.
type page struct {
	url, id, to string
	cells       map[string]string // by their id
}

var (
	tokenField = regexp.MustCompile(`name="csrfmiddlewaretoken" value="([^"]+)"`)
	cell       = regexp.MustCompile(`<td id="(\w+)">([^<]*)</td>`)
	sentPath   = regexp.MustCompile(`/sent/([0-9a-f-]{36})/$`)
)

// send fills in the form and comes to the email's page.
func (b *browser) send(to string) *page {
	b.Helper()
	form, _ := b.read(b.Get(b.url + "/"))
	token := tokenField.FindStringSubmatch(form)
	if token == nil {
		b.Fatalf("no form in %s", form)
	}
	text, at := b.read(b.PostForm(b.url+"/", url.Values{"csrfmiddlewaretoken": {token[1]}, "to": {to}, "subject": {"Grüße"}}))
	id := sentPath.FindStringSubmatch(at)
	if id == nil {
		b.Fatalf("after the form the browser is at %s: %s", at, text)
	}
	return &page{url: at, id: id[1], to: to}
}

// load reads the page as it is now.
func (b *browser) load(p *page) {
	b.Helper()
	text, _ := b.read(b.Get(p.url))
	p.cells = map[string]string{}
	for _, m := range cell.FindAllStringSubmatch(text, -1) {
		p.cells[m[1]] = html.UnescapeString(m[2])
	}
}

// read returns a page and its address.
func (b *browser) read(res *http.Response, err error) (text, at string) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
	raw, err := io.ReadAll(res.Body)
	if err := errors.Join(err, res.Body.Close()); err != nil || res.StatusCode != http.StatusOK {
		b.Fatalf("%s: %s, %v: %.2000s", res.Request.URL, res.Status, err, raw)
	}
	return string(raw), res.Request.URL.String()
}
