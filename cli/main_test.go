package cli_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/rhubarb-go/rhubarb/cli"
)

// asProgram makes the test binary a program of tasks, for tests that need a
// process of their own.
const asProgram = "RHUBARB_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		cli.Program{Name: "app", Tasks: tasks}.Main()
	}
	goleak.VerifyTestMain(m)
}
