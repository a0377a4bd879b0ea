package redisengine

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func TestURLsAreReadAsKombuWritesThem(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		url  string
		want string // hosts and database
		ok   func(a *address) bool
	}{
		{"redis://", "localhost:6379", nil},
		{"redis://h", "h:6379", nil},
		{"redis://h:1/", "h:1", nil},
		{"redis://h:1//3", "h:1/3", nil},
		{"redis://[::1]:1/2", "[::1]:1/2", nil},
		{"redis://[::1]", "[::1]:6379", nil},
		{"redis://:p%40%2Fw@h/3", "h:6379/3", func(a *address) bool { return a.user == "" && a.pass == "p@/w" }},
		{"redis://u:a:b@h", "h:6379", func(a *address) bool { return a.user == "u" && a.pass == "a:b" }},
		{"redis://h?virtual_host=4", "h:6379/4", nil},
		{"redis+socket:///run/r.sock?virtual_host=2", "/run/r.sock", func(a *address) bool { return a.db == 2 }},
		{"unix://u:p@/run/r%20s?db=1", "/run/r s", func(a *address) bool { return a.pass == "p" && a.db == 1 }},
		{"sentinel://:p@a:1;sentinel://b:2;sentinel://c/3?master_name=m&sentinel_password=s", "a:1,b:2,c:26379/3",
			func(a *address) bool { return a.pass == "p" && a.masterName == "m" && a.sentinelPass == "s" }},
		{"sentinel://a,b:2/?master_name=m", "a:26379,b:2", nil},
		{"sentinel://a/1;sentinel://b/1?master_name=m", "a:26379,b:26379/1", nil},
		{"redis+cluster://a,b:2?global_keyprefix={celery}", "a:6379,b:2",
			func(a *address) bool { return a.prefix == "{celery}" && a.resultPrefix == "{celery}_" }},
		{"rediss://h?ssl_cert_reqs=CERT_NONE", "h:6379", func(a *address) bool { return a.tls && a.certReqs == "none" }},
		{"rediss://h?ssl_cert_reqs=optional&ssl_check_hostname=false", "h:6379", func(a *address) bool { return a.certReqs == "" && a.anyName }},
		{"redis://h/0?global_keyprefix=a:&result_keyprefix=b&result_db=5&socket_timeout=1.5&socket_connect_timeout=2" +
			"&health_check_interval=3&protocol=2&visibility_timeout=10", "h:6379", func(a *address) bool {
			return a.prefix == "a:" && a.resultPrefix == "b_" && *a.resultDB == 5 && a.readTimeout == 1500*time.Millisecond &&
				a.connectTimeout == 2*time.Second && a.pingEvery == 3*time.Second && a.resp2 && slices.Equal(a.noted, []string{"visibility_timeout"})
		}},
	} {
		a, err := parseURL(c.url)
		if err != nil {
			t.Errorf("%s: %v", c.url, err)
			continue
		}
		if a.String() != c.want || c.ok != nil && !c.ok(a) {
			t.Errorf("%s: got %s and %+v, want %s", c.url, a, *a, c.want)
		}
	}
}

func TestURLsThatAreWrongSayWhy(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ url, want string }{
		{"http://:secret@h", "begins with redis://"},
		{"redis:secret", "begins with redis://"},
		{"redis://:sec/ret@h", "/ as %2F"},
		{"redis://:sec?secret@h", "/ as %2F"},
		{"redis://:sec#secret@h", "/ as %2F"},
		{"redis://u:secret@h#secret", "/ as %2F"},
		{"redis://:secret%zz@h", "as %25"},
		{"redis://:secret", "the port is no number"},
		{"redis://u:x:secret", "more than one colon"},
		{"redis://:secret@h/secret", "the database is no number"},
		{"redis://:secret@h/-1", "the database is no number"},
		{"redis://:secret@h/%zz", "the path has a %"},
		{"redis://:secret@h?a;b=secret", "name=value"},
		{"redis://:secret@h?ssl_secrets=1", "unknown option ssl_secrets"},
		{"redis://:secret@h?visibility=1", "unknown option visibility: there are db, global_keyprefix,"},
		{"redis://:secret@h?socket_timeout=soon", "option socket_timeout: it is a number of seconds"},
		{"redis://:secret@h?protocol=4", "option protocol: there are 2 and 3"},
		{"rediss://:secret@h?ssl_cert_reqs=maybe", "CERT_REQUIRED, CERT_OPTIONAL"},
		{"redis://:secret@h?ssl_cert_reqs=none", "begins with rediss://"},
		{"rediss://:secret@h?ssl_certfile=a", "ssl_keyfile are needed both"},
		{"redis://:secret@a,b", "several hosts"},
		{"redis://:secret@h?sentinel_password=secret", "begins with sentinel://"},
		{"sentinel://:secret@h", "add ?master_name=NAME"},
		{"redis+socket://:secret@h/path", "a socket has no host"},
		{"redis+socket://", "no path of a socket"},
		{"redis+cluster://:secret@h", "add ?global_keyprefix={celery}"},
		{"redis+cluster://:secret@h?global_keyprefix=celery", "keys of one slot only"},
		{"redis+cluster://:secret@h?global_keyprefix={a}&result_keyprefix=b", "the same tag in braces as global_keyprefix, {a}"},
		{"redis+cluster://:secret@h/1?global_keyprefix={a}", "only database 0"},
	} {
		_, err := parseURL(c.url)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v; want …%s…", c.url, err, c.want)
			continue
		}
		if strings.Contains(strings.ReplaceAll(err.Error(), "ssl_secrets", ""), "secret") {
			t.Errorf("%s: the error tells the password: %v", c.url, err)
		}
	}
}

func FuzzURL(f *testing.F) {
	f.Add("redis://u:p@h:1/2?global_keyprefix=a")
	f.Add("sentinel://a;sentinel://b/1?master_name=m")
	f.Add("redis+cluster://a,b?global_keyprefix={x}")
	f.Fuzz(func(t *testing.T, url string) {
		a, err := parseURL(url)
		if err == nil && (len(a.hosts) == 0 || a.db < 0) {
			t.Errorf("%q was read as %+v", url, a)
		}
	})
}

func TestResultsMayHaveTheirOwnDatabaseAndPrefix(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ broker, results, want string }{
		{"redis://:p@h/0", "redis://:p@h:6379/1", "redis://:p@h/0?result_db=1"},
		{"redis://h?global_keyprefix=a", "redis://h/2?global_keyprefix=b", "redis://h?global_keyprefix=a&result_db=2&result_keyprefix=b_"},
		{"redis://h", "redis://other:secret@other", "redis: results on other:6379 and the broker on h:6379 are two servers"},
		{"redis://h", "rediss://h", "are two servers"},
		{"redis://h", "db+postgresql://u:secret@h", "results in db+postgresql: are not kept"},
		{"redis://h", "redis://:secret@h/x", "results: the database is no number"},
	} {
		got, err := WithResults(c.broker, c.results)
		if err != nil {
			got = err.Error()
		}
		if got != c.want && (err == nil || !strings.Contains(got, c.want)) || strings.Contains(got, "secret") {
			t.Errorf("%s, results %s: got %s, want %s", c.broker, c.results, got, c.want)
		}
		if a, err2 := parseURL(got); err == nil && (err2 != nil || a.resultDB == nil) {
			t.Errorf("%s, results %s: %s is read as %+v, %v", c.broker, c.results, got, a, err2)
		}
	}
}
