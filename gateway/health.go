package gateway

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/rhubarb-go/rhubarb/engine"
)

const (
	// pingWait bounds what a health check or a scrape waits for the engine.
	pingWait = 2 * time.Second
	// maxSilence is how old the worker's last beat may be: four beats.
	maxSilence = 10 * time.Second
)

type healthDocument struct {
	Status   string   `json:"status"`
	Problems []string `json:"problems,omitempty"`
}

// health says that the process answers.
func (g *Gateway) health(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, "application/json", http.StatusOK, healthDocument{Status: "ok"})
}

// ready says whether work gets done: the engine answers, and the worker of
// this process, if there is one, got an answer lately.
func (g *Gateway) ready(w http.ResponseWriter, r *http.Request) {
	problems := g.unready(r.Context())
	if len(problems) > 0 {
		writeJSON(w, "application/json", http.StatusServiceUnavailable, healthDocument{"unready", problems})
		return
	}
	writeJSON(w, "application/json", http.StatusOK, healthDocument{Status: "ok"})
}

func (g *Gateway) unready(ctx context.Context) (problems []string) {
	select {
	case <-g.done:
		problems = append(problems, "shutting down")
	default:
	}
	if p, ok := g.app.Engines().Broker.(engine.Pinger); ok {
		ctx, cancel := context.WithTimeout(ctx, pingWait)
		defer cancel()
		if err := p.Ping(ctx); err != nil {
			problems = append(problems, "the engine does not answer: "+err.Error())
		}
	}
	if g.opts.Beaten == nil {
		return problems
	}
	switch last := g.opts.Beaten(); {
	case last.IsZero():
		problems = append(problems, "the worker has not reached the engine yet")
	case time.Since(last) > maxSilence:
		problems = append(problems, fmt.Sprintf("the worker last reached the engine %s ago", time.Since(last).Round(time.Second)))
	}
	return problems
}
