package gateway_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/rhubarb-go/rhubarb/gateway"
)

type node = map[string]any

// document reads the OpenAPI document of a gateway.
func document(t *testing.T, opts gateway.Options) node {
	t.Helper()
	return documentOf(open(t, opts), opts.Prefix, opts.Token)
}

func documentOf(s *site, prefix, token string) node {
	t := s.t
	t.Helper()
	res := s.do("GET", prefix+"/openapi.json", "", "Authorization", "Bearer "+token)
	var doc node
	if err := json.Unmarshal([]byte(res.body), &doc); err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("got %d %s: %v", res.StatusCode, res.body, err)
	}
	return doc
}

// at follows keys into a document.
func at(t *testing.T, doc any, keys ...string) any {
	t.Helper()
	for i, k := range keys {
		m, ok := doc.(node)
		if !ok || m[k] == nil {
			t.Fatalf("the document has no %s", strings.Join(keys[:i+1], " / "))
		}
		doc = m[k]
	}
	return doc
}

func TestDocumentIsOpenAPI(t *testing.T) {
	for _, doc := range []node{
		document(t, gateway.Options{}),
		document(t, gateway.Options{Tasks: all, Token: "sesame", Prefix: "/api"}),
		documentOf(guarded(t), "", "the operator's"), // with everything
	} {
		if v := at(t, doc, "openapi"); v != "3.1.0" {
			t.Errorf("openapi: got %v, want 3.1.0", v)
		}
		at(t, doc, "info", "title")
		at(t, doc, "info", "version")
		for path, item := range at(t, doc, "paths").(node) {
			checkPath(t, doc, path, item.(node))
		}
		checkRefs(t, doc, doc, "#")
	}
}

// checkPath checks what OpenAPI 3.1 requires of a path and its operations.
func checkPath(t *testing.T, doc node, path string, item node) {
	t.Helper()
	if !strings.HasPrefix(path, "/") {
		t.Errorf("path %q does not begin with a slash", path)
	}
	params, _ := item["parameters"].([]any)
	for method, op := range item {
		if method == "parameters" {
			continue
		}
		if !slices.Contains([]string{"get", "post"}, method) {
			t.Errorf("%s: method %q", path, method)
		}
		for code, r := range at(t, op, "responses").(node) {
			if r := deref(t, doc, r); r["description"] == nil {
				t.Errorf("%s %s: response %s has no description", method, path, code)
			}
		}
	}
	if strings.Count(path, "{") != len(params) {
		t.Errorf("%s: has %d path parameters", path, len(params))
	}
}

func deref(t *testing.T, doc node, v any) node {
	t.Helper()
	m := v.(node)
	if ref, ok := m["$ref"].(string); ok {
		return at(t, doc, strings.Split(strings.TrimPrefix(ref, "#/"), "/")...).(node)
	}
	return m
}

// checkRefs checks that every reference has a target.
func checkRefs(t *testing.T, doc node, v any, where string) {
	t.Helper()
	switch v := v.(type) {
	case node:
		if _, ok := v["$ref"]; ok {
			deref(t, doc, v)
		}
		for k, child := range v {
			checkRefs(t, doc, child, where+"/"+k)
		}
	case []any:
		for i, child := range v {
			checkRefs(t, doc, child, fmt.Sprint(where, "/", i))
		}
	}
}

func TestDocumentHasASchemaPerTask(t *testing.T) {
	doc := document(t, gateway.Options{Tasks: all})
	schema := at(t, doc, "paths", "/tasks/math.add", "post", "requestBody", "content", "application/json", "schema")
	properties := at(t, schema, "properties", "kwargs", "properties").(node)
	if len(properties) != 3 || fmt.Sprint(at(t, properties, "a", "type")) != "[integer null]" {
		t.Errorf("math.add: got %v, want a, b and c with a an integer", properties)
	}
	if got := at(t, schema, "anyOf").([]any); len(got) != 2 {
		t.Errorf("math.add: got %v, want a by name or by place", got)
	}
	single := at(t, doc, "paths", "/tasks/greet", "post", "requestBody", "content", "application/json", "schema")
	if fmt.Sprint(at(t, single, "required")) != "[args]" {
		t.Errorf("greet: got %v, want args to be required", single)
	}
	if _, any := at(t, doc, "paths", "/tasks/{id}").(node)["post"]; any {
		t.Error("a gateway with a task list offers calls of any task")
	}
	at(t, document(t, gateway.Options{}), "paths", "/tasks/{id}", "post")
}

func TestPrefixMovesEverything(t *testing.T) {
	s := open(t, gateway.Options{Prefix: "/api"})
	res := s.do("POST", "/api/tasks/x", "")
	if res.StatusCode != 202 || !strings.HasPrefix(res.Header.Get("Location"), "/api/tasks/") {
		t.Errorf("got %d, Location %q", res.StatusCode, res.Header.Get("Location"))
	}
	if res := s.do("GET", "/healthz", ""); res.StatusCode != 404 {
		t.Errorf("without the prefix: got %d, want 404", res.StatusCode)
	}
}
