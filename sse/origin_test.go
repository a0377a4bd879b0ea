package sse_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/rhubarb-go/rhubarb/sse"
)

func TestOrigins(t *testing.T) {
	const other = "https://app.example.org"
	one := sse.Origins{Allow: []string{other}, Credentials: true}
	for name, c := range map[string]struct {
		origins sse.Origins
		headers []string
		status  int
		allow   string // Access-Control-Allow-Origin
		cookies string // Access-Control-Allow-Credentials
	}{
		"a client that is no browser":                    {one, nil, 200, "", ""},
		"a page of this host":                            {sse.Origins{}, []string{"Origin", "http://example.com"}, 200, "", ""},
		"a page of this host, by name in capitals":       {sse.Origins{}, []string{"Origin", "http://EXAMPLE.com"}, 200, "", ""},
		"a page of another port":                         {sse.Origins{}, []string{"Origin", "http://example.com:81"}, 403, "", ""},
		"another site":                                   {sse.Origins{}, []string{"Origin", other}, 403, "", ""},
		"another site with our cookies":                  {sse.Origins{}, []string{"Origin", other, "Cookie", "a=b"}, 403, "", ""},
		"a site that is allowed":                         {one, []string{"Origin", other}, 200, other, "true"},
		"a site that is allowed, without cookies":        {sse.Origins{Allow: []string{other}}, []string{"Origin", other}, 200, other, ""},
		"a site that is not allowed":                     {one, []string{"Origin", "https://evil.example"}, 403, "", ""},
		"a site whose name begins alike":                 {one, []string{"Origin", other + ".evil.example"}, 403, "", ""},
		"every site, never with cookies":                 {sse.Origins{Allow: []string{"*"}, Credentials: true}, []string{"Origin", other}, 200, "*", ""},
		"an allowed one among every site":                {sse.Origins{Allow: []string{"*", other}, Credentials: true}, []string{"Origin", other}, 200, other, "true"},
		"an origin that hides":                           {one, []string{"Origin", "null"}, 403, "", ""},
		"an origin that is none":                         {one, []string{"Origin", "::"}, 403, "", ""},
		"an image or script of another site":             {sse.Origins{}, []string{"Sec-Fetch-Site", "cross-site"}, 403, "", ""},
		"an image or script of a sister site":            {sse.Origins{}, []string{"Sec-Fetch-Site", "same-site"}, 403, "", ""},
		"a page of this host, by Sec-Fetch-Site":         {sse.Origins{}, []string{"Sec-Fetch-Site", "same-origin"}, 200, "", ""},
		"an address that was typed":                      {sse.Origins{}, []string{"Sec-Fetch-Site", "none"}, 200, "", ""},
		"an image of another site, if everyone may":      {sse.Origins{Allow: []string{"*"}}, []string{"Sec-Fetch-Site", "cross-site"}, 200, "", ""},
		"a list of origins, which no browser ever sends": {one, []string{"Origin", other + " https://evil.example"}, 403, "", ""},
	} {
		for _, method := range []string{"GET", "OPTIONS", "HEAD"} {
			rec, req := httptest.NewRecorder(), httptest.NewRequest(method, "/", nil)
			for i := 0; i < len(c.headers); i += 2 {
				req.Header.Set(c.headers[i], c.headers[i+1])
			}
			upgrade(&sse.Options{Origins: c.origins}, func(*sse.Conn) {}).ServeHTTP(rec, req)
			status := c.status
			if method == "OPTIONS" && status == 200 {
				status = 204
			}
			h := rec.Header()
			if rec.Code != status || h.Get("Access-Control-Allow-Origin") != c.allow || h.Get("Access-Control-Allow-Credentials") != c.cookies {
				t.Errorf("%s: %s: got %d, allow %q, credentials %q, want %d, %q, %q", name, method, rec.Code,
					h.Get("Access-Control-Allow-Origin"), h.Get("Access-Control-Allow-Credentials"), status, c.allow, c.cookies)
			}
			if h.Get("Vary") != "Origin" {
				t.Errorf("%s: %s: Vary is %q: a cache would give one origin's answer to another", name, method, h.Get("Vary"))
			}
		}
	}
}

func TestARequestWithoutHostIsOfNoOrigin(t *testing.T) {
	rec, req := httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil)
	req.Host = ""
	req.Header.Set("Origin", "null")
	upgrade(nil, func(*sse.Conn) {}).ServeHTTP(rec, req)
	if rec.Code != 403 {
		t.Errorf("got %d, want 403", rec.Code)
	}
}

func TestPreflightAllowsWhatFetchClientsSend(t *testing.T) {
	onBoth(t, upgrade(&sse.Options{Origins: sse.Origins{Allow: []string{"https://app.example.org"}}}, func(*sse.Conn) {}), func(s *site) {
		res := s.do("OPTIONS", "/", "Origin", "https://app.example.org",
			"Access-Control-Request-Method", "GET", "Access-Control-Request-Headers", "authorization, last-event-id")
		if res.StatusCode != http.StatusNoContent {
			s.t.Errorf("got %s", res.Status)
		}
		allowed := strings.ToLower(res.Header.Get("Access-Control-Allow-Headers"))
		for _, want := range []string{"last-event-id", "authorization", "cache-control"} {
			if !strings.Contains(allowed, want) {
				s.t.Errorf("%q does not allow %s", allowed, want)
			}
		}
		if got := res.Header.Get("Access-Control-Allow-Methods"); !strings.Contains(got, "GET") || !strings.Contains(got, "POST") {
			s.t.Errorf("methods are %q", got)
		}
		res = s.get("/", "Origin", "https://app.example.org")
		if got := res.Header.Get("Access-Control-Expose-Headers"); !strings.Contains(got, sse.GapHeader) {
			s.t.Errorf("exposed are %q, want %s among them", got, sse.GapHeader)
		}
	})
}
