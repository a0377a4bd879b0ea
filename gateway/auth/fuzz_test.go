package auth

import (
	"bytes"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

func FuzzReadClaim(f *testing.F) {
	for _, seed := range []string{
		`{}`, `null`, `[]`, ``, `{} {}`, `{"tasks":{"call":["*"]}}`, `{"groups":{"read":["a"],"write":[]},"streams":{"read":null}}`,
		`{"tasks":{"cal":["*"]}}`, `{"tasks":{"call":[1]}}`, `{"tasks":{"call":["\ud800"]}}`, `{"TASKS":{"Call":["a"]}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		g, err := readClaim(raw)
		if err != nil {
			return
		}
		first := g.Claim()
		again, err := readClaim(first)
		if err != nil {
			if len(first) > maxClaim { // escapes can make it longer
				return
			}
			t.Fatalf("%s was read from %q but cannot be read back: %v", first, raw, err)
		}
		if second := again.Claim(); !bytes.Equal(first, second) {
			t.Errorf("%q became %s, then %s", raw, first, second)
		}
	})
}

func FuzzDecodeTicket(f *testing.F) {
	f.Add([]byte(nil))
	f.Add(ticket{"ada", CallTask, "mail.send", time.UnixMilli(1)}.encode())
	f.Add(ticket{"", ReadGroup, "*", time.UnixMilli(-1)}.encode())
	f.Add([]byte("\x04\x00\x00\x00\x00\x00\x00\x00\x00\xff\xffada"))
	f.Fuzz(func(t *testing.T, b []byte) {
		k, err := decodeTicket(b)
		if err != nil {
			return
		}
		if !k.action.valid() || k.name == "" || len(k.user) > maxUser {
			t.Errorf("%q became a ticket that cannot be issued: %+v", b, k)
		}
		if got := k.encode(); !bytes.Equal(got, b) {
			t.Errorf("%q became %+v, then %q", b, k, got)
		}
	})
}

func FuzzCheckTicket(f *testing.F) {
	tickets, err := NewTickets(bytes.Repeat([]byte("s"), minSecret))
	if err != nil {
		f.Fatal(err)
	}
	good, err := tickets.Issue("ada", ReadStream, "42", 0)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add("")
	f.Add("v1.")
	f.Add("v1..")
	f.Add("v2" + strings.TrimPrefix(good, "v1"))
	f.Fuzz(func(t *testing.T, text string) {
		k, err := tickets.check(text)
		if err == nil && tickets.sign(k) != text {
			t.Errorf("%q passed as %+v and is not what is issued for it", text, k)
		}
	})
}

func FuzzReadKeySet(f *testing.F) {
	for _, seed := range []string{
		`{"keys":[]}`, `{"keys":null}`, `{"keys":[{}]}`, `{"keys":[{"kty":"oct","k":"AAAA"}]}`,
		`{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","kid":"a","use":"sig","alg":"EdDSA"}]}`,
		`{"keys":[{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}]}`, `{"keys":[{"kty":"RSA","n":"AQ","e":"AQAB"}]}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		all, err := readKeySet(raw)
		if err == nil && len(all) > maxKeys {
			t.Errorf("%d keys were read", len(all))
		}
		for _, k := range all {
			if _, secret := k.material.([]byte); secret || len(k.algs) == 0 {
				t.Errorf("%q became the key %+v", raw, k)
			}
		}
	})
}

func FuzzMatch(f *testing.F) {
	f.Add("a*b", "axxb")
	f.Add(`\*`, "*")
	f.Fuzz(func(t *testing.T, pattern, name string) {
		if len(pattern) > 1<<10 || len(name) > maxName {
			return
		}
		if match(pattern, name) && !match(pattern+"*", name+"x") {
			t.Errorf("%q matches %q, but with a star not what is longer", pattern, name)
		}
		if !match(quote(name), name) {
			t.Errorf("%q does not match itself", name)
		}
		if match(quote(name), name+"x") || name != "" && match(quote(name), name[1:]) {
			t.Errorf("the pattern of %q matches more", name)
		}
	})
}

// FuzzJWT has strangers make tokens: only those that were signed pass.
func FuzzJWT(f *testing.F) {
	secret := bytes.Repeat([]byte("s"), 64)
	tokens, err := NewJWT(JWTOptions{Secret: secret})
	if err != nil {
		f.Fatal(err)
	}
	signed := map[string]bool{}
	for _, method := range []jwt.SigningMethod{jwt.SigningMethodHS256, jwt.SigningMethodHS384, jwt.SigningMethodHS512} {
		good, err := jwt.NewWithClaims(method, jwt.MapClaims{"sub": "ada", "exp": lastSecond, "rhubarb": map[string]any{"tasks": map[string]any{"call": []string{"*"}}}}).SignedString(secret)
		if err != nil {
			f.Fatal(err)
		}
		signed[good] = true
		f.Add(good)
		f.Add(good[:strings.LastIndexByte(good, '.')+1])
		f.Add(good + "=")
	}
	f.Add("")
	f.Add("..")
	f.Add("eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZGEifQ.")
	f.Add("eyJhbGciOiJIUzI1NiIsImNyaXQiOlsiYjY0Il19.e30.AA")
	f.Fuzz(func(t *testing.T, token string) {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header["Authorization"] = []string{"Bearer " + token}
		g, err := tokens.Authenticate(r)
		if err == nil && !signed[strings.TrimSpace(token)] {
			t.Errorf("%q passed as %+v, and nobody signed it", token, g)
		}
		var refused *Error
		if err != nil && (!errors.As(err, &refused) || refused.Status != http.StatusUnauthorized) {
			t.Errorf("%q: %v, want a 401", token, err)
		}
		if refused != nil && len(token) > 20 && strings.Contains(refused.Reason, token) {
			t.Errorf("%q is told back: %s", token, refused.Reason)
		}
	})
}

func FuzzFreshness(f *testing.F) {
	f.Add("max-age=60, no-store")
	f.Add(`max-age="99999999999999999999"`)
	f.Add("MAX-AGE=-1,,=")
	f.Fuzz(func(t *testing.T, control string) {
		const most = time.Minute
		if d := freshness(http.Header{"Cache-Control": {control}}, most); d < 0 || d > most {
			t.Errorf("%q is fresh for %v, want 0 to %v", control, d, most)
		}
	})
}
