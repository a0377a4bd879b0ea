package rhubarb_test

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// The limits of a file and a function: what a reader keeps in mind at once.
const (
	maxFileLines = 500
	maxFuncLines = 60
)

func TestFilesAndFunctionsAreShort(t *testing.T) {
	for _, p := range packages(t) {
		for _, f := range p.files {
			if f.test {
				continue
			}
			if f.lines > maxFileLines {
				t.Errorf("%s has %d lines, over %d: it holds two ideas, split it", f.name, f.lines, maxFileLines)
			}
			for _, d := range f.ast.Decls {
				checkFunc(t, f, d)
			}
		}
	}
}

func checkFunc(t *testing.T, f file, d ast.Decl) {
	t.Helper()
	fn, ok := d.(*ast.FuncDecl)
	if !ok || fn.Body == nil {
		return
	}
	first, last := f.fset.Position(fn.Pos()).Line, f.fset.Position(fn.End()).Line
	if n := last - first + 1; n > maxFuncLines {
		t.Errorf("%s:%d: %s has %d lines, over %d: name its parts", f.name, first, fn.Name.Name, n, maxFuncLines)
	}
}

func TestPackagesTellTheirStory(t *testing.T) {
	for _, p := range packages(t) {
		if !slices.ContainsFunc(p.files, func(f file) bool { return !f.test }) {
			continue
		}
		if !slices.ContainsFunc(p.files, func(f file) bool {
			main := f.ast.Name.Name == "main"
			return !f.test && f.ast.Doc != nil && (main || filepath.Base(f.name) == "doc.go")
		}) {
			t.Errorf("%s has no package comment in doc.go: tell its story there in the order a user meets it", p.dir)
		}
	}
}

func TestPackagesLookForLeaks(t *testing.T) {
	for _, p := range packages(t) {
		library := slices.ContainsFunc(p.files, func(f file) bool { return !f.test && f.ast.Name.Name != "main" })
		tested := slices.ContainsFunc(p.files, func(f file) bool { return f.test })
		if !library && !tested {
			continue
		}
		if !slices.ContainsFunc(p.files, func(f file) bool {
			return f.test && slices.Contains(f.imports(), "go.uber.org/goleak") &&
				slices.ContainsFunc(f.ast.Decls, func(d ast.Decl) bool {
					fn, ok := d.(*ast.FuncDecl)
					return ok && fn.Name.Name == "TestMain"
				})
		}) {
			t.Errorf("%s has no TestMain that ends in goleak.VerifyTestMain: a leaked goroutine must fail its tests", p.dir)
		}
	}
}

// machinePath is a directory that only one person's machine has.
var machinePath = regexp.MustCompile(`(?:^|[\s"'=(` + "`" + `])/(?:work|home|root|Users)/`)

func TestNothingNamesAMachine(t *testing.T) {
	kinds := []string{".go", ".mod", ".md", ".sh", ".py", ".html", ".css", ".js", ".ts", ".json", ".yml", ".yaml", ""}
	walk(t, func(name string, d fs.DirEntry) {
		if d.IsDir() || !slices.Contains(kinds, filepath.Ext(name)) {
			return
		}
		for i, line := range bytes.Split(read(t, name), []byte("\n")) {
			if at := machinePath.Find(line); at != nil {
				t.Errorf("%s:%d names a path of one machine (%q): make it relative or a parameter", name, i+1, at)
			}
		}
	})
}

// pkg is a directory with Go files, of this module alone.
type pkg struct {
	dir   string // relative to the root, with slashes; "." is the root
	files []file
}

type file struct {
	name  string
	test  bool
	lines int
	fset  *token.FileSet
	ast   *ast.File
}

func (f file) imports() []string {
	var paths []string
	for _, spec := range f.ast.Imports {
		if path, err := strconv.Unquote(spec.Path.Value); err == nil {
			paths = append(paths, path)
		}
	}
	return paths
}

// packages parses the module's packages, in the order of their directories.
func packages(t *testing.T) []pkg {
	t.Helper()
	var all []pkg
	walk(t, func(name string, d fs.DirEntry) {
		if d.IsDir() || filepath.Ext(name) != ".go" || strings.HasPrefix(name, "bench/") {
			return
		}
		dir := filepath.ToSlash(filepath.Dir(name))
		i := slices.IndexFunc(all, func(p pkg) bool { return p.dir == dir })
		if i < 0 {
			i, all = len(all), append(all, pkg{dir: dir})
		}
		all[i].files = append(all[i].files, parse(t, name))
	})
	return all
}

func parse(t *testing.T, name string) file {
	t.Helper()
	src, fset := read(t, name), token.NewFileSet()
	tree, err := parser.ParseFile(fset, name, src, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	return file{
		name:  name,
		test:  strings.HasSuffix(name, "_test.go"),
		lines: bytes.Count(src, []byte("\n")),
		fset:  fset,
		ast:   tree,
	}
}

// walk visits the project's files and leaves out what is not written by hand:
// hidden directories, recordings, data and build results.
func walk(t *testing.T, visit func(name string, d fs.DirEntry)) {
	t.Helper()
	skip := []string{"testdata", "rhubarb-data", "bin", "node_modules"}
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		hidden := strings.HasPrefix(d.Name(), ".") && name != "."
		if d.IsDir() && (hidden || slices.Contains(skip, d.Name())) {
			return filepath.SkipDir
		}
		if d.Type().IsRegular() || d.IsDir() {
			visit(name, d)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, name string) []byte {
	t.Helper()
	src, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return src
}
