package edge_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestDocumentsQuoteTheConfigurationsThatAreTested(t *testing.T) {
	raw, err := os.ReadFile("../../docs/gateway.md")
	if err != nil {
		t.Fatal(err)
	}
	names, err := filepath.Glob("testdata/*")
	if err != nil || len(names) != 3 {
		t.Fatalf("got %v, %v, want three configurations", names, err)
	}
	for _, name := range names {
		kind := strings.TrimSuffix(filepath.Base(name), filepath.Ext(name))
		kind = strings.TrimSuffix(kind, "-plain")
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if quoted := "```" + kind + "\n" + string(text) + "```\n"; !strings.Contains(string(raw), quoted) {
			t.Errorf("docs/gateway.md does not quote %s as it is", name)
		}
	}
}
