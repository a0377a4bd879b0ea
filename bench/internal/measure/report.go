package measure

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// Sample is one number that a round measured.
type Sample struct {
	Metric string  `json:"metric"`
	Unit   string  `json:"unit"`
	Value  float64 `json:"value"`
	More   bool    `json:"more"` // more is better
}

// More is a number of which more is better.
func More(metric, unit string, value float64) Sample {
	return Sample{Metric: metric, Unit: unit, Value: value, More: true}
}

// Less is a number of which less is better.
func Less(metric, unit string, value float64) Sample {
	return Sample{Metric: metric, Unit: unit, Value: value}
}

// Results holds, for one case, every side's samples by metric, round by round.
type Results struct {
	metrics []Sample // in the order of their first appearance; the values are void
	values  map[string]map[string][]float64
}

// New returns empty results.
func New() *Results { return &Results{values: map[string]map[string][]float64{}} }

// Add adds what one round measured on one side.
func (r *Results) Add(side string, samples []Sample) {
	for _, s := range samples {
		if r.values[s.Metric] == nil {
			r.values[s.Metric] = map[string][]float64{}
			r.metrics = append(r.metrics, s)
		}
		r.values[s.Metric][side] = append(r.values[s.Metric][side], s.Value)
	}
}

// Print writes, for each metric, a line per side: median and spread, and how
// many times better it is than the first side, round by round.
func (r *Results) Print(w io.Writer, sides []string) {
	r.print(w, sides, func(first, own []float64, more bool) string {
		return spread(ratios(first, own, more)) + " times better than " + sides[0]
	})
}

// PrintRivals writes the same, and how many times better the first side is than
// each other one.
func (r *Results) PrintRivals(w io.Writer, sides []string) {
	r.print(w, sides, func(first, own []float64, more bool) string {
		return sides[0] + " is " + spread(ratios(own, first, more)) + " times better"
	})
}

func (r *Results) print(w io.Writer, sides []string, compare func(first, own []float64, more bool) string) {
	for _, m := range r.metrics {
		fmt.Fprintf(w, "  %s, %s\n", m.Metric, m.Unit)
		first := r.values[m.Metric][sides[0]]
		for i, side := range sides {
			own := r.values[m.Metric][side]
			line := fmt.Sprintf("    %-12s %-28s", side, spread(own))
			if i > 0 && len(ratios(first, own, m.More)) > 0 {
				line += compare(first, own, m.More)
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
