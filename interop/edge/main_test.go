package edge_test

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/rhubarb-go/rhubarb/interop"
)

// patience is how long anything may take, on a machine that is busy.
const patience = time.Minute

// The program in ./site, and the directory of the engine that its processes
// share. The worker holds it for as long as the tests run.
var binary, data string

func TestMain(m *testing.M) { goleak.VerifyTestMain(suite{m}) }

// suite is the tests between what they share.
type suite struct{ *testing.M }

func (s suite) Run() int {
	code, err := s.run()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// atOnce is how many tests run at once, unless -parallel says otherwise. Nearly
// all they do is wait for somebody to come back.
const atOnce = "6"

func (s suite) run() (code int, err error) {
	if err := flag.Set("test.parallel", atOnce); err != nil {
		return 0, err
	}
	dir, err := os.MkdirTemp("", "rhubarb-edge")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	binary, data = filepath.Join(dir, "site"), filepath.Join(dir, "data")
	if out, err := exec.Command("go", "build", "-o", binary, "./site").CombinedOutput(); err != nil {
		return 0, fmt.Errorf("build the program: %w\n%s", err, out)
	}
	worker, _, err := interop.Start(exec.Command(binary, "worker", "--data", data), regexp.MustCompile("worker started"))
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, worker.Stop()) }()
	defer func() { err = errors.Join(err, closeBrowser()) }()
	return s.M.Run(), nil
}
