package celery_test

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/rhubarb-go/rhubarb/interop"
)

// patience is how long anything may take, on a machine that is busy.
const patience = time.Minute

// atOnce is how many tests run at once, unless -parallel says otherwise. Most
// of the time they wait for a worker.
const atOnce = "24"

// site is what runs for all tests; nil with a reason where something lacks.
var (
	site    *fleet
	lacking string
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(suite{m}) }

// suite is the tests between the start of the fleet and its end.
type suite struct{ *testing.M }

func (s suite) Run() int {
	code, err := s.run()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

func (s suite) run() (code int, err error) {
	if err := flag.Set("test.parallel", atOnce); err != nil {
		return 0, err
	}
	if lacking = missing(); lacking != "" {
		return s.M.Run(), nil
	}
	dir, err := os.MkdirTemp("", "rhubarb-celery")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	site = &fleet{dir: dir}
	defer func() { err = errors.Join(err, site.stop()) }()
	if err := site.start(); err != nil {
		return 0, err
	}
	return s.M.Run(), nil
}

// need ends the test where the fleet could not be started.
func need(t *testing.T) {
	t.Helper()
	if site == nil {
		interop.Lack(t, lacking)
	}
}
