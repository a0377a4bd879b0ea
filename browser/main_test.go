package browser_test

import (
	"testing"

	"go.uber.org/goleak"
)

// suite ends the browser that the tests share before leaks are looked for.
type suite struct{ *testing.M }

func (s suite) Run() int {
	defer chromium.end()
	return s.M.Run()
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(suite{m}) }
