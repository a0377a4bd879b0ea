package embedded_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(envHold); dir != "" {
		holdUntilKilled(dir)
	}
	goleak.VerifyTestMain(m)
}
