//go:build !race

package enginetest

// slowdown is how much slower the race detector makes a store; there is none here.
const slowdown = 1
