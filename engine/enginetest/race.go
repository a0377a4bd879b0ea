//go:build race

package enginetest

// slowdown is how much slower the race detector makes a store that runs in the
// test's own process.
const slowdown = 2
