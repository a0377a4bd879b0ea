package interop_test

import (
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/rhubarb-go/rhubarb/interop"
)

func sh(script string) *exec.Cmd { return exec.Command("sh", "-c", script) }

func TestProcessIsReadyWhenItSaysSo(t *testing.T) {
	p, said, err := interop.Start(sh(`trap "exit 0" TERM; echo warming up; echo "serving on port 80" >&2; while :; do sleep 0.05; done`), regexp.MustCompile(`port (\d+)`))
	if err != nil {
		t.Fatal(err)
	}
	if len(said) != 1 || said[0] != "80" || p.Ended() {
		t.Errorf("it said %q, ended %v; want 80 and not", said, p.Ended())
	}
	if err := p.Stop(); err != nil || !p.Ended() {
		t.Errorf("stop: %v, ended %v", err, p.Ended())
	}
}

func TestProcessThatEndsTooSoonTellsItsLastLines(t *testing.T) {
	_, _, err := interop.Start(sh("echo no such option; exit 3"), regexp.MustCompile("serving"))
	if err == nil || !strings.Contains(err.Error(), "no such option") {
		t.Errorf("got %v, want the program's words", err)
	}
}

func TestProcessThatFailsAtTheEndIsAnError(t *testing.T) {
	p, _, err := interop.Start(sh(`trap "echo oh no; exit 4" TERM; echo up; while :; do sleep 0.05; done`), regexp.MustCompile("up"))
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Stop(); err == nil || !strings.Contains(err.Error(), "oh no") {
		t.Errorf("got %v, want exit status 4 and the program's words", err)
	}
}
