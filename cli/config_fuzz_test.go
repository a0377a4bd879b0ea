package cli

import (
	"strings"
	"testing"
)

func FuzzConfig(f *testing.F) {
	for _, seed := range []string{"a = 1", `a = "b"`, "a = ['x', \"\\u00e9\"]", "[a]\nb = true", "a.b = 1", "a = {b = 1}", "# x", "a = '''\n", "\xff = 1", "a = [[]]"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		c := config{path: "file"}
		if err := c.parse(raw); err != nil && !strings.HasPrefix(err.Error(), "file:") {
			t.Errorf("%q: the error %q does not say where", raw, err)
		}
		for _, s := range c.keys {
			if s.line < 1 || s.value == nil {
				t.Errorf("%q: got the key %+v", raw, s)
			}
		}
	})
}
