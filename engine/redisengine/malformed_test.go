package redisengine_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rhubarb-go/rhubarb"
	"github.com/rhubarb-go/rhubarb/engine"
	"github.com/rhubarb-go/rhubarb/internal/celery"
)

// recorded are envelopes that Celery has sent, one of each recording.
func recorded(t testing.TB) (envelopes []string) {
	t.Helper()
	files, err := filepath.Glob("../../internal/celery/testdata/send-*.json")
	if err != nil || len(files) < 20 {
		t.Fatalf("%d recordings, %v", len(files), err)
	}
	var find func(v any) string
	find = func(v any) string {
		switch v := v.(type) {
		case string:
			if strings.HasPrefix(v, `{"body"`) {
				return v
			}
		case []any:
			for _, e := range v {
				if s := find(e); s != "" {
					return s
				}
			}
		case map[string]any:
			for _, e := range v {
				if s := find(e); s != "" {
					return s
				}
			}
		}
		return ""
	}
	for _, file := range files {
		if strings.Contains(file, "eta-tz") {
			continue // it is due in 2030
		}
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var doc any
		if err := json.Unmarshal(raw, &doc); err != nil {
			t.Fatal(err)
		}
		if s := find(doc); s != "" {
			envelopes = append(envelopes, s)
		}
	}
	return envelopes
}

// numbered gives a recorded envelope an id of its own.
func numbered(t testing.TB, envelope, id string) string {
	t.Helper()
	m, _, _, err := celery.ParseEnvelope([]byte(envelope))
	if err != nil {
		t.Fatalf("recorded envelope: %v", err)
	}
	return strings.ReplaceAll(envelope, m.ID, id)
}

// harms are what may happen to an envelope on its way.
var harms = []func(r *rand.Rand, e string) string{
	func(r *rand.Rand, e string) string { return e[:r.IntN(len(e))] },
	func(r *rand.Rand, e string) string { return e[r.IntN(len(e)):] },
	func(r *rand.Rand, e string) string { return set(r, e, byte(r.IntN(256))) },
	func(r *rand.Rand, e string) string { return set(r, e, 0) },
	func(r *rand.Rand, e string) string { return set(r, e, 0xff) },
	func(r *rand.Rand, e string) string { return set(r, e, `{}[]",:\\`[r.IntN(8)]) },
	func(r *rand.Rand, e string) string { i, j := two(r, e); return e[:i] + e[j:] },
	func(r *rand.Rand, e string) string { i, j := two(r, e); return e[:j] + e[i:] },
	func(_ *rand.Rand, e string) string { return strings.Replace(e, `"body": "`, `"body": "!`, 1) },
	func(_ *rand.Rand, e string) string { return strings.Replace(e, `"base64"`, `"base85"`, 1) },
	func(_ *rand.Rand, e string) string { return strings.Replace(e, `"body": "`, `"body": 7, "x": "`, 1) },
	func(_ *rand.Rand, e string) string {
		return strings.Replace(e, `"headers": {`, `"headers": [], "x": {`, 1)
	},
	func(_ *rand.Rand, e string) string {
		return strings.Replace(e, `"properties": {`, `"properties": null, "x": {`, 1)
	},
	func(_ *rand.Rand, e string) string {
		return strings.Replace(e, `"correlation_id": "`, `"correlation_id": "`+strings.Repeat("long", 100), 1)
	},
	func(_ *rand.Rand, e string) string {
		return strings.Replace(e, `"correlation_id": "`, `"correlation_id": "\u0000`, 1)
	},
	func(_ *rand.Rand, e string) string {
		return strings.Replace(e, `application/json`, `application/x-python-serialize`, 1)
	},
	func(_ *rand.Rand, e string) string {
		return strings.Replace(e, `"headers": {`, `"headers": {"compression": "rot13", `, 1)
	},
	func(_ *rand.Rand, e string) string { return `["` + e + `"]` },
	func(_ *rand.Rand, e string) string { return strings.Repeat("[", 5000) + e },
	func(_ *rand.Rand, e string) string { return fmt.Sprintf("%d %d", len(e), rand.Uint64()) },
}

func set(r *rand.Rand, e string, c byte) string {
	i := r.IntN(len(e))
	return e[:i] + string([]byte{c}) + e[i+1:]
}

func two(r *rand.Rand, e string) (i, j int) {
	i = r.IntN(len(e))
	return i, i + r.IntN(len(e)-i)
}

// TestSpoiltMessagesAreSetAside pushes harmed envelopes into a queue at once, with
// good ones among them. Each good one is run, and each other one is run, parked
// or a dead letter with a reason: none is lost.
func TestSpoiltMessagesAreSetAside(t *testing.T) {
	t.Parallel()
	random, s := seeded(t), startRedis(t)
	app := crowdApp(t, s.url())
	good := rhubarb.Define("good", func(_ context.Context, n int) (int, error) { return n, nil })
	var texts []string
	all := recorded(t)
	for i := range rounds(20, 400) {
		for k, harm := range harms {
			e := numbered(t, all[random.IntN(len(all))], fmt.Sprintf("task-%03d-%02d", i, k))
			texts = append(texts, harm(random, e))
		}
	}
	texts = append(texts, "", "null", "true", `{"properties": {"correlation_id": {"a": 1}}}`,
		`{"properties": `+strings.Repeat(`{"a": `, 900)+"1"+strings.Repeat("}", 900)+"}",
		strings.Repeat("x", 64<<20), `{"a": [`+strings.Repeat("1,", 2<<20)+`1]}`)
	random.Shuffle(len(texts), func(i, j int) { texts[i], texts[j] = texts[j], texts[i] })
	c := redisClient(t, app)
	distinct := map[string]bool{}
	var results []*rhubarb.Result[int]
	for i, text := range texts {
		distinct[text] = true
		if err := c.Do(t.Context(), c.B().Lpush().Key("celery").Element(text).Build()).Error(); err != nil {
			t.Fatalf("push %.100q: %v", text, err)
		}
		if i%20 == 0 {
			res, err := good.Delay(t.Context(), app, len(results))
			if err != nil {
				t.Fatal(err)
			}
			results = append(results, res)
		}
	}
	startWorker(t, crowdApp(t, s.url()), "celery@one", good)
	ctx, cancel := context.WithTimeout(t.Context(), patient)
	defer cancel()
	for n, res := range results {
		if got, err := res.Get(ctx); err != nil || got != n {
			t.Fatalf("good task %d: %d, %v", n, got, err)
		}
	}
	broker := app.Engines().Broker
	until(t, "all spoilt messages have a place", func() bool {
		infos, err := broker.Queues(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return len(infos) == 1 && infos[0].Ready+infos[0].Held+infos[0].Delayed == 0
	})
	dead, parked := len(shelved(t, broker, engine.Dead)), len(shelved(t, broker, engine.Parked))
	kept, err := c.Do(t.Context(), c.B().Keys().Pattern("celery-task-meta-*").Build()).AsStrSlice()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d spoilt texts: %d dead letters, %d parked; %d states", len(distinct), dead, parked, len(kept))
	for _, d := range shelved(t, broker, engine.Dead) {
		if d.Reason == "" {
			t.Errorf("%s is a dead letter without a reason", d.ID)
		}
	}
	if dead+parked != len(distinct) {
		t.Errorf("%d dead and %d parked of %d spoilt messages", dead, parked, len(distinct))
	}
}

func shelved(t testing.TB, b engine.Broker, shelf engine.Shelf) (all []engine.Shelved) {
	t.Helper()
	for after := ""; ; after = all[len(all)-1].ID {
		page, err := b.Shelved(t.Context(), shelf, after, 500)
		if err != nil {
			t.Fatal(err)
		}
		if all = append(all, page...); len(page) < 500 {
			return all
		}
	}
}

func TestAShelvedMessageIsFoundByTheIDItIsShownWith(t *testing.T) {
	t.Parallel()
	s := startRedis(t)
	e := s.engine(t)
	r := receive(t, e, "q")
	text := strings.Replace(envelope("one"), `"correlation_id": "one"`, `"correlation_id": "other"`, 1)
	for _, verdict := range []engine.Verdict{engine.Bury, engine.Park} {
		s.put(t, "q", text)
		d := take(t, r, patient)
		if err := r.Settle(t.Context(), []engine.Settlement{{Delivery: d, Verdict: verdict, Reason: "test",
			State: map[bool]*engine.State{true: {ID: d.ID, Status: engine.Failure}}[verdict == engine.Bury]}})[0]; err != nil {
			t.Fatal(err)
		}
	}
	for _, shelf := range []engine.Shelf{engine.Dead, engine.Parked} {
		all, err := e.Shelved(t.Context(), shelf, "", 10)
		if err != nil || len(all) != 1 {
			t.Fatalf("%s: %+v, %v; want one message", shelf, all, err)
		}
		if next, err := e.Shelved(t.Context(), shelf, all[0].ID, 10); err != nil || len(next) != 0 {
			t.Errorf("%s after %s: %+v, %v; want none", shelf, all[0].ID, next, err)
		}
		if err := e.Drop(t.Context(), shelf, []string{all[0].ID})[0]; err != nil {
			t.Errorf("%s: drop %s: %v", shelf, all[0].ID, err)
		}
	}
}
