package main

import (
	"os"
	"runtime/pprof"
)

// profile writes a CPU profile until it is stopped.
func profile(path string) (stop func(), err error) {
	f, err := os.Create(path + ".pprof")
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, err
	}
	return func() {
		pprof.StopCPUProfile()
		_ = f.Close() // it is for reading by eye
	}, nil
}
