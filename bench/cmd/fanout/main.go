package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/rhubarb-go/rhubarb/bench/internal/measure"
)

// options are what every case is told.
type options struct {
	window time.Duration // how long to publish
	limit  time.Duration // how long a delivery may take
	scale  float64       // of the number of connections

	profiles string // where profiles go; empty for none
}

// tables are the sides that are measured beside each other, ours first.
var tables = [][]string{
	{"rhubarb", "centrifuge", "gws", "coder", "bare"},
	{"rhubarb-sse", "nethttp-sse"},
}

func main() {
	var o options
	rounds := flag.Int("rounds", 3, "how often each side is measured")
	which := flag.String("cases", ".", "measure only cases that match this regular expression")
	only := flag.String("sides", "", "which sides, with commas between; empty means all")
	name := flag.String("serve", "", "be the server of this side; used by this program itself")
	flag.DurationVar(&o.window, "for", 5*time.Second, "how long to publish")
	flag.DurationVar(&o.limit, "limit", 30*time.Second, "how long a delivery may take before it counts as lost")
	flag.Float64Var(&o.scale, "scale", 1, "multiplies the number of connections")
	flag.StringVar(&o.profiles, "profiles", "", "write each side's last CPU profile, and its memory at the end, into this directory")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	if *name != "" {
		err = serve(ctx, *name, o.profiles)
	} else {
		err = compare(ctx, o, *which, *only, *rounds)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "fanout:", err)
		os.Exit(1)
	}
}

// compare runs every case that matches, in rounds, and prints what came out.
func compare(ctx context.Context, o options, which, only string, rounds int) error {
	match, err := regexp.Compile(which)
	if err != nil {
		return err
	}
	if o.scale <= 0 || rounds < 1 {
		return fmt.Errorf("-scale %v and -rounds %d must be above zero", o.scale, rounds)
	}
	fmt.Printf("%s, %d CPUs, %s, load %s; %d rounds, interleaved; median (least–most)\n",
		measure.Processor(), runtime.NumCPU(), runtime.Version(), measure.Load(), rounds)
	for _, sides := range tables {
		if only != "" {
			for _, name := range strings.Split(only, ",") {
				if _, err := sideOf(name); err != nil {
					return err
				}
			}
			sides = slices.DeleteFunc(slices.Clone(sides), func(s string) bool { return !slices.Contains(strings.Split(only, ","), s) })
		}
		for _, c := range cases {
			if !match.MatchString(c.name) || len(sides) == 0 {
				continue
			}
			if err := c.compare(ctx, o, sides, rounds); err != nil {
				return err
			}
		}
	}
	return nil
}

func (bc benchCase) compare(ctx context.Context, o options, sides []string, rounds int) error {
	got := measure.New()
	for round := range rounds {
		order := slices.Clone(sides)
		if round%2 == 1 {
			slices.Reverse(order)
		}
		for _, name := range order {
			s, err := sideOf(name)
			if err != nil {
				return err
			}
			samples, err := bc.run(ctx, s, o)
			if err != nil {
				return fmt.Errorf("%s, %s: %w", bc.name, name, err)
			}
			got.Add(name, samples)
		}
	}
	fmt.Printf("\n%s\n", bc.name)
	got.PrintRivals(os.Stdout, sides)
	return nil
}
