package rhubarb_test

import (
	"strings"
	"testing"
)

const module = "github.com/rhubarb-go/rhubarb"

// layer says which packages of this module some packages may import.
type layer struct {
	packages string // space-separated; "." is the root; "x/*" is all below x
	may      string // same form; a package may always import its own internal ones
}

// engines are technologies behind the seam. Only programs choose one.
const engines = "engine/memengine engine/natsengine engine/embedded engine/redisengine engine/amqpengine"

// portable is all that an application is made of, and no engine.
const portable = "engine internal/celery internal/push event control channels stream . " +
	"canvas worker beat ws sse view/* browser gateway gateway/auth dashboard"

// layers goes from the bottom to the top: see the layering in docs/design.md.
// Imports point up in this table and so down in the program. Tests are free.
var layers = []layer{
	{"engine", ""},
	{"internal/push", ""},
	{"internal/celery", "engine"},
	{"internal/mailbox", "engine"},

	{"engine/enginetest", "engine internal/celery"},
	{"engine/memengine engine/natsengine engine/redisengine engine/amqpengine", "engine internal/celery internal/mailbox"},
	{"engine/embedded", "engine engine/natsengine"},
	{"engine/dial", "engine " + engines},

	{"event control channels stream", "engine internal/celery"},
	{".", "engine internal/celery event control stream"},

	{"canvas", "engine internal/celery ."},
	{"worker", "engine internal/celery stream event control ."},
	{"beat", "engine internal/celery ."},
	{"ws", "engine internal/push channels"},
	{"sse", "engine internal/push stream"},
	{"view/*", "engine internal/push stream sse"},

	{"browser gateway/auth", ""},
	{"gateway", "engine internal/celery stream channels . sse ws view/* browser gateway/auth"},
	{"dashboard", "engine event control stream . sse"},

	{"rhubarbtest", "engine engine/memengine internal/celery stream . worker"},
	{"cli", portable + " engine/dial"},
	{"cmd/rhubarb", portable + " engine/dial cli"},
	{"examples/*", portable + " engine/dial cli " + engines},
	{"interop", ""},
	{"interop/*", portable + " engine/dial cli interop"},
}

func TestImportsPointDown(t *testing.T) {
	for _, p := range packages(t) {
		row, ok := rowOf(owner(p.dir))
		if !ok {
			t.Errorf("%s has no row in layers_test.go: add one that says what it may import, in the commit that adds the package", p.dir)
			continue
		}
		for _, f := range p.files {
			checkImports(t, p, f, row)
		}
	}
}

func checkImports(t *testing.T, p pkg, f file, row layer) {
	t.Helper()
	if f.test {
		return
	}
	for _, path := range f.imports() {
		dir, ours := local(path)
		if !ours || owner(dir) == owner(p.dir) || covers(row.may, owner(dir)) {
			continue
		}
		t.Errorf("%s imports %s, which %s may not: move the code to where both may meet, "+
			"or change its row in layers_test.go and argue for it in the commit", f.name, dir, p.dir)
	}
}

// local turns an import path of this module into a directory.
func local(path string) (dir string, ours bool) {
	if path == module {
		return ".", true
	}
	return strings.CutPrefix(path, module+"/")
}

// owner maps x/internal/y to x, for whose rules it lives under. The root's own
// internal packages own themselves.
func owner(dir string) string {
	if i := strings.Index(dir, "/internal/"); i > 0 {
		return dir[:i]
	}
	return dir
}

func rowOf(dir string) (layer, bool) {
	for _, l := range layers {
		if covers(l.packages, dir) {
			return l, true
		}
	}
	return layer{}, false
}

func covers(list, dir string) bool {
	for name := range strings.FieldsSeq(list) {
		if prefix, ok := strings.CutSuffix(name, "*"); name == dir || ok && strings.HasPrefix(dir, prefix) {
			return true
		}
	}
	return false
}

func TestLayersTable(t *testing.T) {
	for i, l := range layers {
		for name := range strings.FieldsSeq(l.may) {
			above := false
			for _, lower := range layers[:i] {
				above = above || covers(lower.packages, name) || lower.packages == name
			}
			if !above {
				t.Errorf("row %q may import %s, which is not in a row above it: imports would not point down", l.packages, name)
			}
		}
	}
}
