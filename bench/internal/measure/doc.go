// Package measure is what the benchmarks share: what a process costs, and a
// table of results with medians, spreads and ratios.
package measure
