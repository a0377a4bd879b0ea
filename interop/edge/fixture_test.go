package edge_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/uuid"
)

// newName is one that no other test has.
func newName() string { return strings.ReplaceAll(uuid.NewString(), "-", "") }

// fetch makes a request on a connection of its own.
func fetch(t *testing.T, req *http.Request) (status int, body string) {
	t.Helper()
	req.Close = true
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(raw)
}

// get returns what the site says at a path.
func (e *edge) get(t *testing.T, path string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, e.url+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	status, body := fetch(t, req)
	if status != http.StatusOK {
		t.Fatalf("%s: got %d %s", path, status, body)
	}
	return body
}
