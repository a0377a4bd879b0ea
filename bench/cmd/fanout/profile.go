package main

import (
	"os"
	"runtime"
	"runtime/pprof"
)

// profile writes a CPU profile until it is stopped, and then one of the memory
// in use.
func profile(path string) (stop func(), err error) {
	cpu, err := os.Create(path + ".cpu")
	if err != nil {
		return nil, err
	}
	memory, err := os.Create(path + ".memory")
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(cpu); err != nil {
		return nil, err
	}
	return func() {
		pprof.StopCPUProfile()
		runtime.GC()
		_ = pprof.WriteHeapProfile(memory) // a reader notices what is missing
		_ = memory.Close()
		_ = cpu.Close()
	}, nil
}
