package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// results holds, for one case, every side's samples by metric, round by round.
type results struct {
	metrics []sample // in the order of their first appearance; the values are void
	values  map[string]map[string][]float64
}

func newResults() *results { return &results{values: map[string]map[string][]float64{}} }

func (r *results) add(side string, samples []sample) {
	for _, s := range samples {
		if r.values[s.Metric] == nil {
			r.values[s.Metric] = map[string][]float64{}
			r.metrics = append(r.metrics, s)
		}
		r.values[s.Metric][side] = append(r.values[s.Metric][side], s.Value)
	}
}

// print writes, for each metric, a line per side: median and spread, and how
// many times better it is than the first side, round by round.
func (r *results) print(w io.Writer, sides []string) {
	for _, m := range r.metrics {
		fmt.Fprintf(w, "  %s, %s\n", m.Metric, m.Unit)
		first := r.values[m.Metric][sides[0]]
		for i, side := range sides {
			own := r.values[m.Metric][side]
			line := fmt.Sprintf("    %-8s %-28s", side, spread(own))
			if better := ratios(first, own, m.More); i > 0 && len(better) > 0 {
				line += spread(better) + " times better than " + sides[0]
			}
			fmt.Fprintln(w, strings.TrimRight(line, " "))
		}
	}
}

// ratios tells, for each round, how many times better b is than a. Rounds in
// which one of them is not above zero have no ratio.
func ratios(a, b []float64, more bool) []float64 {
	out := make([]float64, 0, len(a))
	for i := range min(len(a), len(b)) {
		switch {
		case a[i] <= 0 || b[i] <= 0:
		case more:
			out = append(out, b[i]/a[i])
		default:
			out = append(out, a[i]/b[i])
		}
	}
	return out
}

// spread writes the median with the least and the most.
func spread(values []float64) string {
	if len(values) == 0 {
		return "nothing"
	}
	return fmt.Sprintf("%s (%s–%s)", short(median(values)), short(slices.Min(values)), short(slices.Max(values)))
}

func median(values []float64) float64 {
	s := slices.Sorted(slices.Values(values))
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[len(s)/2]
}

// short writes three significant digits and no exponent.
func short(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}
