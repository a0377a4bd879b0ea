package enginetest

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/rhubarb-go/rhubarb/engine"
)

// Engine is what the suite must know of an implementation.
type Engine struct {
	// Open makes an engine that is fresh and empty, and closes it when the
	// test is over. Facets it has not got are nil.
	Open func(t testing.TB) engine.Set

	// Has names what the engine can do beyond the interfaces, and must match
	// what it implements and which hooks are given:
	//
	//	ping     it implements engine.Pinger
	//	unified  broker, results and streams are one
	//	layer    Set.Layer is not nil
	//	reopen   Reopen is given
	//	restart  Restart is given
	//	cut      Cut is given
	Has []string

	// Bubble runs each case in a testing/synctest bubble, with fake time.
	// Otherwise time is real, cases run in parallel, and waits are short.
	Bubble bool

	// Reopen opens the data of s once more, as another process would, and
	// closes it when the test is over.
	Reopen func(t testing.TB, s engine.Set) engine.Set

	// Restart ends the store under s as kill -9 would, starts it again with
	// the same data, and returns an engine on it, which may be s.
	Restart func(t testing.TB, s engine.Set) engine.Set

	// Cut breaks the connection between s and its store once. It may come
	// back at once.
	Cut func(t testing.TB, s engine.Set)
}

// The suites of single facets.
type (
	Broker  Engine // needs Set.Broker
	Results Engine // needs Set.Results
	Streams Engine // needs Set.Streams
	Locks   Engine // needs Set.Locks
	Layer   Engine // needs Set.Layer
	Unified Engine // needs all of them to be one
)

// Run runs every suite that applies.
func (e Engine) Run(t *testing.T) {
	t.Run("Broker", Broker(e).Run)
	t.Run("Results", Results(e).Run)
	t.Run("Streams", Streams(e).Run)
	t.Run("Locks", Locks(e).Run)
	if slices.Contains(e.Has, "layer") {
		t.Run("Layer", Layer(e).Run)
	}
	if slices.Contains(e.Has, "unified") {
		t.Run("Unified", Unified(e).Run)
	}
}

// Run runs the suite.
func (b Broker) Run(t *testing.T) {
	Engine(b).run(t, slices.Concat(brokerTests, settleTests, delayTests, revokeTests, shelfTests, brokerDurableTests))
}

// Run runs the suite.
func (r Results) Run(t *testing.T) { Engine(r).run(t, resultsTests) }

// Run runs the suite.
func (s Streams) Run(t *testing.T) { Engine(s).run(t, slices.Concat(streamsTests, retentionTests)) }

// Run runs the suite.
func (l Locks) Run(t *testing.T) { Engine(l).run(t, locksTests) }

// Run runs the suite.
func (l Layer) Run(t *testing.T) { Engine(l).run(t, slices.Concat(layerTests, historyTests)) }

// Run runs the suite.
func (u Unified) Run(t *testing.T) { Engine(u).run(t, unifiedTests) }

// test is a case: a sentence, why it matters, what it needs of an engine.
type test struct {
	name  string
	why   string
	needs string // one of Has; "" for every engine, "fake" for fake time only
	run   func(c *T)
}

func (e Engine) run(t *testing.T, tests []test) {
	t.Run("declares what it implements", e.declared)
	for _, tt := range tests {
		if !e.meets(tt.needs) {
			continue
		}
		t.Run(tt.name, func(t *testing.T) {
			if !e.Bubble {
				t.Parallel()
				e.one(t, tt)
				return
			}
			synctest.Test(t, func(t *testing.T) { e.one(t, tt) })
		})
	}
}

func (e Engine) meets(need string) bool {
	switch need {
	case "":
		return true
	case "fake":
		return e.Bubble
	}
	return slices.Contains(e.Has, need)
}

func (e Engine) one(t *testing.T, tt test) {
	defer func() {
		if t.Failed() {
			t.Logf("this matters because %s", tt.why)
		}
	}()
	tt.run(&T{T: t, Set: e.Open(t), engine: e})
}

// declared compares Has with the engine and its hooks.
func (e Engine) declared(t *testing.T) {
	body := func(t *testing.T) {
		s := e.Open(t)
		_, pings := s.Broker.(engine.Pinger)
		for name, has := range map[string]bool{
			"ping":    pings,
			"unified": s.Broker != nil && s.Unified(),
			"layer":   s.Layer != nil,
			"reopen":  e.Reopen != nil,
			"restart": e.Restart != nil,
			"cut":     e.Cut != nil,
		} {
			if declares := slices.Contains(e.Has, name); declares != has {
				t.Errorf("%q: declared %v, implemented %v", name, declares, has)
			}
		}
		known := "ping unified layer reopen restart cut"
		for _, name := range e.Has {
			if !slices.Contains(strings.Fields(known), name) {
				t.Errorf("%q is declared, known are: %s", name, known)
			}
		}
	}
	if e.Bubble {
		synctest.Test(t, body)
		return
	}
	body(t)
}
