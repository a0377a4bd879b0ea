package browser_test

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rhubarb-go/rhubarb/browser"
)

// compiler ends the test if TypeScript is not installed.
func compiler(t *testing.T) (node string) {
	t.Helper()
	if _, err := os.Stat("node_modules/typescript/bin/tsc"); err != nil {
		missing(t, "browser/node_modules/typescript")
	}
	return program(t, "node")
}

func run(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s%s", name, strings.Join(args, " "), err, out, &stderr)
	}
	return strings.TrimSpace(string(out))
}

func TestPublishedFormIsThatOfTheSource(t *testing.T) {
	t.Parallel()
	dist := t.TempDir()
	run(t, ".", compiler(t), "build.js", dist)
	for _, name := range []string{"rhubarb.js", "rhubarb.d.ts"} {
		want, err := os.ReadFile(filepath.Join(dist, name))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(filepath.Join("dist", name)); err != nil || !bytes.Equal(got, want) {
			t.Errorf("dist/%s is not what the source gives (%v): run make js and commit it", name, err)
		}
	}
}

// user is a program of somebody who has the package from npm.
const user = `import { connect, follow, type Feed } from "rhubarb";
const feed: Feed = follow("/tasks/1/events", { hidden: 0 });
feed.on("progress", (e) => console.log(e.data.current));
connect(async () => "/groups/chat.garden/ws").send({ type: "chat.message" });
`

func TestPackageWorksFromNPM(t *testing.T) {
	t.Parallel()
	node, npm, dir := compiler(t), program(t, "npm"), t.TempDir()
	tarball := run(t, ".", npm, "pack", "--silent", "--pack-destination", dir)
	installed := filepath.Join(dir, "node_modules", "rhubarb")
	if err := os.MkdirAll(installed, 0o755); err != nil {
		t.Fatal(err)
	}
	run(t, dir, "tar", "-xzf", tarball, "-C", installed, "--strip-components=1")
	for name, text := range map[string]string{"package.json": `{"type": "module"}`, "user.ts": user} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	tsc, err := filepath.Abs("node_modules/typescript/bin/tsc")
	if err != nil {
		t.Fatal(err)
	}
	run(t, dir, node, tsc, "--strict", "--noEmit", "--skipLibCheck", "--target", "es2022", "--module", "nodenext", "user.ts")
	got := run(t, dir, node, "--input-type=module", "-e", `import * as all from "rhubarb"; console.log(Object.keys(all).join())`)
	if want := "connect,follow"; got != want {
		t.Errorf("it exports %s, want %s", got, want)
	}
}

func TestHandlerServesTheModule(t *testing.T) {
	get := func(method, etag string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, "/anywhere.js", http.NoBody)
		if etag != "" {
			r.Header.Set("If-None-Match", etag)
		}
		w := httptest.NewRecorder()
		browser.Handler().ServeHTTP(w, r)
		return w
	}
	w := get("GET", "")
	if w.Code != http.StatusOK || !bytes.Equal(w.Body.Bytes(), browser.Script()) {
		t.Errorf("got %d and %d bytes, want 200 and %d", w.Code, w.Body.Len(), len(browser.Script()))
	}
	for key, want := range map[string]string{
		"Content-Type": "text/javascript; charset=utf-8", "Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff",
	} {
		if got := w.Header().Get(key); got != want {
			t.Errorf("%s: got %q, want %q", key, got, want)
		}
	}
	if w := get("GET", w.Header().Get("ETag")); w.Code != http.StatusNotModified || w.Body.Len() != 0 {
		t.Errorf("with the ETag: got %d and %d bytes, want 304 and none", w.Code, w.Body.Len())
	}
	if w := get("HEAD", ""); w.Code != http.StatusOK || w.Body.Len() != 0 {
		t.Errorf("HEAD: got %d and %d bytes, want 200 and none", w.Code, w.Body.Len())
	}
	if w := get("POST", ""); w.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST: got %d, want 405", w.Code)
	}
}
