package dial_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/rhubarb-go/rhubarb/engine/dial"
)

func TestURLsThatNameNoEngineSaySo(t *testing.T) {
	cases := []struct{ url, want string }{
		{"redis://:secret@127.0.0.1:1", "connect to 127.0.0.1:1: dial tcp 127.0.0.1:1: connect: connection refused"},
		{"redis://:sec/ret@127.0.0.1", "there is an @"},
		{"amqp://guest:secret@localhost", "no engine for amqp: in this version"},
		{"http://localhost", "no engine for http:"},
		{"./data", "write file:./data"},
		{"nats://user:secret@127.0.0.1:1", "nats://"},
	}
	for _, c := range cases {
		_, closeAll, err := dial.Dial(t.Context(), c.url, nil)
		if err == nil {
			closeAll()
			t.Errorf("%s was opened", c.url)
			continue
		}
		if !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v; want …%s…", c.url, err, c.want)
		}
		if strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: the error tells the password: %v", c.url, err)
		}
	}
}

func TestResultsApartAreForRedisAlone(t *testing.T) {
	for _, c := range []struct{ url, results, want string }{
		{"mem:", "redis://:secret@h", "unset RHUBARB_RESULTS_URL"},
		{"redis://h", "redis://:secret@other", "are two servers"},
	} {
		_, _, err := dial.Dial(t.Context(), c.url, &dial.Options{Results: c.results})
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s with results in %s: got %v, want …%s…", c.url, c.results, err, c.want)
		}
	}
}

func TestURLsOpenTheirEngines(t *testing.T) {
	for _, url := range []string{"mem:", "file:" + filepath.Join(t.TempDir(), "a"), "file://" + filepath.Join(t.TempDir(), "b")} {
		set, closeAll, err := dial.Dial(t.Context(), url, nil)
		if err != nil {
			t.Errorf("%s: %v", url, err)
			continue
		}
		if !set.Unified() || set.Locks == nil {
			t.Errorf("%s: the facets are not one engine", url)
		}
		if err := closeAll(); err != nil {
			t.Errorf("%s: close: %v", url, err)
		}
	}
}
