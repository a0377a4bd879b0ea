package celery_test

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// docs/celery.md names every scenario and every version.
func TestDocsNameWhatIsChecked(t *testing.T) {
	raw, err := os.ReadFile("../../docs/celery.md")
	if err != nil {
		t.Fatal(err)
	}
	text := string(raw)
	for _, s := range slices.Concat(values, outcomes, options, followUps) {
		if !strings.Contains(text, " "+s.name+"; ") && !strings.Contains(text, " "+s.name+" |") {
			t.Errorf("docs/celery.md does not name the scenario %q", s.name)
		}
	}
	for _, version := range []string{"current", "5.2"} {
		pins, err := os.ReadFile("project/requirements-" + version + ".txt")
		if err != nil {
			t.Fatal(err)
		}
		for pin := range strings.FieldsSeq(string(pins)) {
			name, number, _ := strings.Cut(pin, "==")
			spelt, shown := map[string]string{"celery": "Celery", "kombu": "kombu", "redis": "redis-py", "flower": "Flower"}[name]
			if shown && !strings.Contains(text, spelt+" "+number) {
				t.Errorf("docs/celery.md does not say %s %s", spelt, number)
			}
		}
	}
}
