package control

import (
	"encoding/json"
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

func TestReprIsPythons(t *testing.T) {
	// Python 3.11: repr(json.loads(in))
	for in, want := range map[string]string{
		`"nope"`:                    `'nope'`,
		`"it's"`:                    `"it's"`,
		`"it's \"so\""`:             `'it\'s "so"'`,
		`"a\\b\n\t\r\u0000\u0085é"`: `'a\\b\n\t\r\x00\x85é'`,
		`"\u2028\ud83d\ude00"`:      `'\u2028😀'`,
		`[1, 2.0, true, false, null, {}, [], {"b": [1], "a": "x"}]`: `[1, 2.0, True, False, None, {}, [], {'b': [1], 'a': 'x'}]`,
	} {
		if got := reprJSON(json.RawMessage(in)); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}

func TestGlobIsPythons(t *testing.T) {
	// Python 3.11: fnmatch.fnmatchcase(name, pattern)
	for _, c := range []struct {
		pattern, name string
		want          bool
	}{
		{"celery@*", "celery@host", true},
		{"celery@*", "acelery@host", false},
		{"*@h?st", "celery@host", true},
		{"c[a-e]lery@host", "celery@host", true},
		{"c[!a-e]lery@host", "celery@host", false},
		{"c[e-a]lery@host", "celery@host", false},
		{"c[!e-a]lery@host", "celery@host", true},
		{"[]]", "]", true},
		{"[!]]", "]", false},
		{"[", "[", true},
		{"a[", "a[", true},
		{"[!", "[!", true},
		{"a.b", "axb", false},
		{`[\]`, `\`, true},
		{"[^a]", "^", true},
		{"[^a]", "b", false},
		{"*", "", true},
		{"", "a", false},
		{"é?", "éà", true},
	} {
		if got, err := Glob.match(c.pattern, c.name); got != c.want || err != nil {
			t.Errorf("%q on %q: %v, %v; want %v", c.pattern, c.name, got, err, c.want)
		}
	}
}

func TestPasswordsAreMasked(t *testing.T) {
	for in, want := range map[string]string{
		"redis://:sesame@127.0.0.1:7301/5":            "redis://:********@127.0.0.1:7301/5",
		"redis://user:sesame@host/0":                  "redis://user:********@host/0",
		"redis://host:6379/0":                         "redis://host:6379/0",
		"redis://user@host/0":                         "redis://user@host/0",
		"redis://:se@same@host/0":                     "redis://:********@host/0",
		"redis://:se/same@host/0":                     "redis://:********@host/0",
		"sentinel://:a@h1:1;sentinel://:b@h2:2":       "sentinel://:********@h1:1;sentinel://:********@h2:2",
		"rediss://h/0?password=sesame&ssl=1":          "rediss://h/0?password=********&ssl=1",
		"rediss://h/0?ssl_keyfile=/k&x":               "rediss://h/0?ssl_keyfile=********&x",
		"celery":                                      "celery",
		"nats://token@host:4222":                      "nats://token@host:4222",
		"amqp://guest:guest@localhost//":              "amqp://guest:********@localhost//",
		"file:./rhubarb-data":                         "file:./rhubarb-data",
		"redis://:sesame@h?%70assword=x":              "redis://:********@h?%70assword=********",
		"redis://:p%zz@[::1]:6379":                    "redis://:********@[::1]:6379",
		"redis://a:b@h1,c:d@h2/0":                     "redis://a:********@h2/0",
		"not a url with ://":                          "not a url with ://",
		"redis+cluster://u:p@h:1/?x=1&secret_token=3": "redis+cluster://u:********@h:1/?x=1&secret_token=********",
	} {
		if got := MaskURL(in); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}

func TestMemoryForgetsTheOldest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		m.add("first", "again")
		m.add("again")
		time.Sleep(time.Second)
		m.add("again", "again", "")
		if ids, ages := m.list(); fmt.Sprint(ids, ages) != "[first again] [1s 0s]" {
			t.Errorf("got %v %v", ids, ages)
		}
		for i := range maxRevoked {
			m.add(fmt.Sprint(i))
		}
		ids, _ := m.list()
		if len(ids) != maxRevoked || m.has("first") || !m.has("0") {
			t.Errorf("%d are remembered, first: %v, 0: %v", len(ids), m.has("first"), m.has("0"))
		}
		for range 3 * maxRevoked {
			time.Sleep(time.Nanosecond)
			m.add("same")
		}
		if len(m.order) > 2*maxRevoked+1 {
			t.Errorf("%d entries for %d ids", len(m.order), len(m.since))
		}
		time.Sleep(keepRevoked)
		if ids, _ := m.list(); len(ids) != 0 || len(m.order) != 0 {
			t.Errorf("%d ids and %d entries are left after three hours", len(ids), len(m.order))
		}
	})
}
