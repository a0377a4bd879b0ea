package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"github.com/rhubarb-go/rhubarb/bench/internal/measure"
)

// options say what is rehearsed.
type options struct {
	engine  string // embedded or nats
	clients int
	groups  int // the clients are spread over them
	rate    int // messages per second, to all groups together
	rounds  int // how often both servers are restarted
	calm    time.Duration
	away    time.Duration
	grace   time.Duration
	binary  string // of rhubarb; empty builds it
	race    bool   // build it with the race detector
	verbose bool   // show what the servers log
}

func main() {
	var o options
	flag.StringVar(&o.engine, "engine", "embedded", "embedded, or nats for a nats-server of its own")
	flag.IntVar(&o.clients, "clients", 5000, "how many clients, half of each kind")
	flag.IntVar(&o.groups, "groups", 8, "over how many groups they are spread")
	flag.IntVar(&o.rate, "rate", 40, "messages per second, to all groups together")
	flag.IntVar(&o.rounds, "rounds", 1, "how often both servers are restarted")
	flag.DurationVar(&o.calm, "calm", 5*time.Second, "how long to wait between two restarts")
	flag.DurationVar(&o.away, "away", 2*time.Second, "how long a server is away before it is started again")
	flag.DurationVar(&o.grace, "grace", 10*time.Second, "the servers' --grace")
	flag.StringVar(&o.binary, "rhubarb", "", "the binary of rhubarb; empty builds it")
	flag.BoolVar(&o.race, "race", false, "build it with the race detector")
	flag.BoolVar(&o.verbose, "v", false, "show what the servers log")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	fmt.Printf("%s, %d CPUs, %s, load %s\n", measure.Processor(), runtime.NumCPU(), runtime.Version(), measure.Load())
	v, err := rehearse(ctx, o)
	if err != nil {
		fmt.Fprintln(os.Stderr, "deploy:", err)
		os.Exit(1)
	}
	v.print(os.Stdout)
	if len(v.broken) > 0 {
		os.Exit(1)
	}
}
