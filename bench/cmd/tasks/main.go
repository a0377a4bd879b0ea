package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"regexp"
	"runtime"
	"runtime/pprof"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/rhubarb-go/rhubarb/bench/internal/measure"
)

// options are what a measurement is told.
type options struct {
	Side, Case  string
	Dir         string // an empty folder for the side's data
	Redis       string // a key of redisPolicies
	N           int    // how many jobs
	Concurrency int    // of the worker
	Callers     int    // who enqueue at once
	Rate        int    // jobs per second
	Scheduled   int    // jobs that wait
	Due         int    // jobs that fall due at once
	Results     bool
	Profile     string        // where to write a CPU profile; empty for none
	For         time.Duration // how long to send at Rate
}

// answer is what a measurement prints.
type answer struct {
	Policy  string           `json:"policy"`
	Samples []measure.Sample `json:"samples"`
}

func main() {
	var o options
	rounds := flag.Int("rounds", 3, "how often each side is measured")
	which := flag.String("cases", ".", "measure only cases that match this regular expression")
	only := flag.String("sides", strings.Join(sides, ","), "which sides")
	one := flag.String("measure", "", "measure once with these options in JSON; used by this program itself")
	limit := flag.Duration("limit", 10*time.Minute, "give up a measurement after this time")
	flag.IntVar(&o.N, "n", 20_000, "jobs to burn down and to enqueue")
	flag.IntVar(&o.Concurrency, "concurrency", 100, "jobs that may run at once")
	flag.IntVar(&o.Scheduled, "scheduled", 100_000, "jobs that wait for tomorrow")
	flag.IntVar(&o.Due, "due", 100_000, "jobs that fall due at once")
	flag.DurationVar(&o.For, "for", 30*time.Second, "how long to send at 1/s; at 1000/s at most 10s")
	flag.StringVar(&o.Redis, "redis", "default", "how Redis keeps its data: default, everysec or always")
	flag.StringVar(&o.Profile, "profile", "", "write a CPU profile of the last measurement to this file")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	if *one != "" {
		err = once(ctx, *one)
	} else {
		err = compare(ctx, o, *which, strings.Split(*only, ","), *rounds, *limit)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "tasks:", err)
		os.Exit(1)
	}
}

// compare runs every case that matches, in rounds, and prints what came out.
func compare(ctx context.Context, o options, which string, sides []string, rounds int, limit time.Duration) error {
	match, err := regexp.Compile(which)
	if err != nil {
		return err
	}
	fmt.Printf("%s, %d CPUs, %s, load %s; %d rounds, interleaved; median (least–most)\n",
		measure.Processor(), runtime.NumCPU(), runtime.Version(), measure.Load(), rounds)
	policies := map[string]string{}
	for _, c := range cases {
		if !match.MatchString(c.name) {
			continue
		}
		got := measure.New()
		for round := range rounds {
			order := slices.Clone(sides)
			if round%2 == 1 {
				slices.Reverse(order)
			}
			for _, side := range order {
				o := o
				c.set(&o)
				o.Side, o.Case = side, c.name
				a, err := fork(ctx, o, limit)
				if err != nil {
					return fmt.Errorf("%s, %s: %w", c.name, side, err)
				}
				got.Add(side, a.Samples)
				if policies[side] == "" {
					policies[side] = a.Policy
					fmt.Printf("%s: %s\n", side, a.Policy)
				}
			}
		}
		fmt.Printf("\n%s\n", c.name)
		got.Print(os.Stdout, sides)
	}
	return nil
}

// fork measures in a process of its own with an empty folder.
func fork(ctx context.Context, o options, limit time.Duration) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var a answer
	dir, err := os.MkdirTemp("", "rhubarb-bench-")
	if err != nil {
		return a, err
	}
	defer os.RemoveAll(dir)
	o.Dir = dir
	spec, err := json.Marshal(o)
	if err != nil {
		return a, err
	}
	self, err := os.Executable()
	if err != nil {
		return a, err
	}
	var out, trouble bytes.Buffer
	cmd := exec.CommandContext(ctx, self, "-measure", string(spec))
	cmd.Stdout, cmd.Stderr = &out, &trouble
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 20 * time.Second
	if err := cmd.Run(); err != nil {
		return a, fmt.Errorf("%w\n%s", err, trouble.Bytes())
	}
	return a, json.Unmarshal(out.Bytes(), &a)
}

// once runs one case on one side and prints the answer.
func once(ctx context.Context, spec string) error {
	var o options
	if err := json.Unmarshal([]byte(spec), &o); err != nil {
		return err
	}
	i := slices.IndexFunc(cases, func(c benchCase) bool { return c.name == o.Case })
	if i < 0 {
		return fmt.Errorf("no case is named %q", o.Case)
	}
	s, err := openSide(ctx, o)
	if err != nil {
		return err
	}
	if o.Profile != "" {
		f, err := os.Create(o.Profile)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	samples, err := cases[i].run(ctx, s, o)
	if err != nil {
		s.close() //nolint:errcheck // the other error says more
		return err
	}
	if err := s.close(); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(answer{Policy: s.policy(), Samples: samples})
}
