package natsengine_test

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if url := os.Getenv(envURL); url != "" {
		if err := dieAt(url, os.Getenv(envPoint)); err != nil {
			fmt.Fprintln(os.Stderr, "child:", err)
		}
		os.Exit(1) // it should have died
	}
	dir, err := os.MkdirTemp("", "natsengine")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	binaryDir = dir
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if err := os.RemoveAll(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(code)
	}))
}
