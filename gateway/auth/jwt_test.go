package auth_test

import (
	"bytes"
	"crypto"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/rhubarb-go/rhubarb/gateway/auth"
)

func newJWT(t *testing.T, o auth.JWTOptions) *auth.JWT {
	t.Helper()
	j, err := auth.NewJWT(o)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// soon are good claims, changed by pairs; nil takes one away.
func soon(changes ...any) jwt.MapClaims {
	c := jwt.MapClaims{
		"sub":     "ada",
		"exp":     time.Now().Add(time.Hour).Unix(),
		"rhubarb": json.RawMessage(`{"tasks":{"call":["mail.*"]}}`),
	}
	for i := 0; i < len(changes); i += 2 {
		c[changes[i].(string)] = changes[i+1]
		if changes[i+1] == nil {
			delete(c, changes[i].(string))
		}
	}
	return c
}

func TestEachKindOfKeyHasItsAlgorithms(t *testing.T) {
	p256, p384, p521, ed := ecKey(elliptic.P256()), ecKey(elliptic.P384()), ecKey(elliptic.P521()), edKey()
	long := bytes.Repeat([]byte("s"), 64)
	asPublic := func(k crypto.Signer) auth.JWTOptions { return auth.JWTOptions{PublicKey: publicPEM(k)} }
	signers := []struct {
		alg string
		key any
	}{
		{"HS256", long}, {"HS384", long}, {"HS512", long},
		{"RS256", rsaKey()}, {"RS384", rsaKey()}, {"RS512", rsaKey()},
		{"PS256", rsaKey()}, {"PS384", rsaKey()}, {"PS512", rsaKey()},
		{"ES256", p256}, {"ES384", p384}, {"ES512", p521}, {"EdDSA", ed},
	}
	for _, c := range []struct {
		name string
		opts auth.JWTOptions
		algs string
	}{
		{"a secret of 64 bytes", auth.JWTOptions{Secret: long}, "HS256 HS384 HS512"},
		{"RSA", asPublic(rsaKey()), "RS256 RS384 RS512 PS256 PS384 PS512"},
		{"RSA as PKCS #1", auth.JWTOptions{PublicKey: pem.EncodeToMemory(&pem.Block{
			Type: "RSA PUBLIC KEY", Bytes: x509.MarshalPKCS1PublicKey(&rsaKey().PublicKey),
		})}, "RS256 RS384 RS512 PS256 PS384 PS512"},
		{"P-256", asPublic(p256), "ES256"},
		{"P-384", asPublic(p384), "ES384"},
		{"P-521", asPublic(p521), "ES512"},
		{"Ed25519", asPublic(ed), "EdDSA"},
	} {
		t.Run(c.name, func(t *testing.T) {
			j := newJWT(t, c.opts)
			for _, s := range signers {
				token := sign(jwt.GetSigningMethod(s.alg), s.key, soon())
				g, err := j.Authenticate(bearer(token))
				if !strings.Contains(" "+c.algs+" ", " "+s.alg+" ") {
					refused(t, err, 401, strings.ReplaceAll(c.algs, " ", ", "), parts(token)...)
					continue
				}
				if err != nil || g.User != "ada" || !g.Allows(auth.CallTask, "mail.send") || g.Allows(auth.CallTask, "other") {
					t.Errorf("%s: got %+v, %v", s.alg, g, err)
				}
			}
		})
	}
}

func TestLongHashesNeedLongSecrets(t *testing.T) {
	for _, c := range []struct {
		size int
		alg  string
		want bool
	}{
		{32, "HS256", true}, {32, "HS384", false}, {32, "HS512", false},
		{47, "HS384", false}, {48, "HS384", true}, {63, "HS512", false}, {64, "HS512", true},
	} {
		key := bytes.Repeat([]byte("s"), c.size)
		_, err := newJWT(t, auth.JWTOptions{Secret: key}).Authenticate(bearer(sign(jwt.GetSigningMethod(c.alg), key, soon())))
		if (err == nil) != c.want {
			t.Errorf("%s with %d bytes: %v, want to pass: %v", c.alg, c.size, err, c.want)
		}
	}
}

// forge puts a token together from a header and claims, with any signature.
func forge(header, claims, signature string) string {
	return b64([]byte(header)) + "." + b64([]byte(claims)) + "." + b64([]byte(signature))
}

func TestForgedTokensAreRefused(t *testing.T) {
	public := publicPEM(rsaKey())
	j := newJWT(t, auth.JWTOptions{PublicKey: public})
	good := sign(jwt.SigningMethodRS256, rsaKey(), soon())
	p := strings.Split(good, ".")
	root := string(must(json.Marshal(soon("sub", "root"))))
	der := x509.MarshalPKCS1PublicKey(&rsaKey().PublicKey)
	for _, c := range []struct{ name, token, reason string }{
		{"unsigned", sign(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, soon()), "use RS256"},
		{"unsigned in capitals", forge(`{"alg":"NONE"}`, root, ""), "use RS256"},
		{"without an algorithm", forge(`{"typ":"JWT"}`, root, ""), "use RS256"},
		{"with a number as algorithm", forge(`{"alg":1}`, root, ""), "use RS256"},
		{"with an algorithm nobody knows", forge(`{"alg":"XS256"}`, root, "x"), "use RS256"},
		{"HS256 with the public key as secret", sign(jwt.SigningMethodHS256, public, soon()), "use RS256"},
		{"HS256 with the bytes of the public key as secret", sign(jwt.SigningMethodHS256, der, soon()), "use RS256"},
		{"by another key", sign(jwt.SigningMethodRS256, otherRSA(), soon()), "signature"},
		{"by another key that comes along", sign(jwt.SigningMethodRS256, otherRSA(), soon(), "jwk", jwk(&otherRSA().PublicKey, "")), "signature"},
		{"with other claims", p[0] + "." + b64([]byte(root)) + "." + p[2], "signature"},
		{"with another header", b64([]byte(`{"alg":"RS256"}`)) + "." + p[1] + "." + p[2], "signature"},
		{"with the signature of another algorithm", b64([]byte(`{"alg":"PS256"}`)) + "." + p[1] + "." + p[2], "signature"},
		{"without a signature", p[0] + "." + p[1] + ".", "signature"},
		{"with two parts", p[0] + "." + p[1], "not a JWT"},
		{"with four parts", good + "." + p[2], "not a JWT"},
		{"encrypted, with five parts", good + "." + p[2] + "." + p[2], "not a JWT"},
		{"padded", good + "=", "not a JWT"},
		{"with a header that is not base64", "?." + p[1] + "." + p[2], "not a JWT"},
		{"with a header that is not JSON", forge("header", root, ""), "not a JWT"},
		{"with claims that are not JSON", forge(`{"alg":"RS256"}`, "claims", ""), "not a JWT"},
		{"with claims that are a list", forge(`{"alg":"RS256"}`, "[]", ""), "not a JWT"},
		{"with claims that are null", forge(`{"alg":"RS256"}`, "null", ""), "signature"},
		{"with a header that is null", forge("null", root, ""), "use RS256"},
		{"empty", "", "not a JWT"},
		{"a word", "secret-word", "not a JWT"},
		{"with extensions to understand", sign(jwt.SigningMethodRS256, rsaKey(), soon(), "crit", []string{"b64"}, "b64", false), "crit"},
		{"with a kid that is a number", sign(jwt.SigningMethodRS256, rsaKey(), soon(), "kid", 7), "kid"},
		{"of more than 8 KiB", sign(jwt.SigningMethodRS256, rsaKey(), soon("x", strings.Repeat("x", 8<<10))), "8 KiB"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := j.Authenticate(bearer(c.token))
			refused(t, err, 401, c.reason, parts(c.token)...)
		})
	}
}

func TestEveryByteOfATokenCounts(t *testing.T) {
	j := newJWT(t, auth.JWTOptions{Secret: secret('a')})
	good := sign(jwt.SigningMethodHS256, secret('a'), soon())
	for i := range len(good) {
		for _, b := range "AZaz09-_.=" {
			bad := good[:i] + string(b) + good[i+1:]
			if bad == good {
				continue
			}
			if _, err := j.Authenticate(bearer(bad)); err == nil {
				t.Errorf("%q passed, byte %d was changed", bad, i)
			}
		}
	}
}

func TestClaims(t *testing.T) {
	strict := auth.JWTOptions{Secret: secret('a'), Issuer: "https://id.example", Audience: "rhubarb"}
	lax := auth.JWTOptions{Secret: secret('a')}
	forever := auth.JWTOptions{Secret: secret('a'), AllowForever: true}
	right := func(changes ...any) jwt.MapClaims {
		return soon(append([]any{"iss", "https://id.example", "aud", "rhubarb"}, changes...)...)
	}
	for _, c := range []struct {
		name   string
		opts   auth.JWTOptions
		claims jwt.MapClaims
		reason string // empty: it passes
	}{
		{"all is right", strict, right(), ""},
		{"one of several audiences is right", strict, right("aud", []string{"other", "rhubarb"}), ""},
		{"another audience", strict, right("aud", "other"), "audience"},
		{"other audiences", strict, right("aud", []string{"other", "rhubarb2"}), "audience"},
		{"no audience", strict, right("aud", nil), "it needs exp, iss, aud"},
		{"an audience that is a number", strict, right("aud", 1), "not a JWT"},
		{"another issuer", strict, right("iss", "https://id.example/"), "issuer"},
		{"no issuer", strict, right("iss", nil), "it needs exp, iss, aud"},
		{"issuer and audience do not count", lax, right("iss", "x", "aud", "y"), ""},
		{"no end", lax, soon("exp", nil), "it needs exp"},
		{"an end that is null", lax, soon("exp", json.RawMessage("null")), "it needs exp"},
		{"an end that is a word", lax, soon("exp", "never"), "not a JWT"},
		{"an end in milliseconds", lax, soon("exp", time.Now().Add(time.Hour).UnixMilli()), "milliseconds"},
		{"an end beyond all numbers", lax, soon("exp", json.RawMessage("1e999")), "not a JWT"},
		{"an end in 1970", lax, soon("exp", 0), "expired"},
		{"no end, which is allowed", forever, soon("exp", nil), ""},
		{"an end in the past, where none is needed", forever, soon("exp", 1), "expired"},
		{"a start to come", lax, soon("nbf", time.Now().Add(time.Hour).Unix()), "not good yet"},
		{"no permissions", lax, soon("rhubarb", nil), ""},
		{"permissions that are null", lax, soon("rhubarb", json.RawMessage("null")), ""},
		{"permissions that are a list", lax, soon("rhubarb", []string{"*"}), `claim "rhubarb"`},
		{"permissions that are misspelt", lax, soon("rhubarb", json.RawMessage(`{"task":{"call":["secret"]}}`)), `claim "rhubarb"`},
		{"a permission that is a number", lax, soon("rhubarb", json.RawMessage(`{"tasks":{"call":[1]}}`)), `claim "rhubarb"`},
		{"a permission that is no list", lax, soon("rhubarb", json.RawMessage(`{"tasks":{"call":"*"}}`)), `claim "rhubarb"`},
		{"no user", lax, soon("sub", nil), ""},
		{"a user that is a number", lax, soon("sub", 7), "not a JWT"},
		{"too long a user", lax, soon("sub", strings.Repeat("a", 257)), "256 bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			token := sign(jwt.SigningMethodHS256, secret('a'), c.claims)
			g, err := newJWT(t, c.opts).Authenticate(bearer(token))
			if c.reason != "" {
				refused(t, err, 401, c.reason, append(parts(token), "secret")...)
				return
			}
			sub, _ := c.claims["sub"].(string)
			if err != nil || g.User != sub {
				t.Fatalf("got %+v, %v, want the user %q", g, err, sub)
			}
			text, given := c.claims["rhubarb"].(json.RawMessage)
			if got, want := g.Allows(auth.CallTask, "mail.send"), given && string(text) != "null"; got != want {
				t.Errorf("mail.send may be called: %v, want %v", got, want)
			}
		})
	}
}

func TestTokenExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newJWT(t, auth.JWTOptions{Secret: secret('a')})
		token := sign(jwt.SigningMethodHS256, secret('a'), soon("exp", time.Now().Add(time.Minute).Unix()))
		start := time.Now()
		time.Sleep(90*time.Second - 1)
		g, err := j.Authenticate(bearer(token))
		if err != nil {
			t.Fatalf("refused within the leeway: %v", err)
		}
		if got, want := g.Expires.Sub(start), 90*time.Second; got != want {
			t.Errorf("the grant ends after %s, want %s", got, want)
		}
		if !g.Allows(auth.CallTask, "mail.send") {
			t.Error("the grant is over before the leeway is")
		}
		time.Sleep(1 * time.Nanosecond)
		_, err = j.Authenticate(bearer(token))
		refused(t, err, 401, "expired", parts(token)...)
	})
}

func TestTokenStarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newJWT(t, auth.JWTOptions{Secret: secret('a')})
		token := sign(jwt.SigningMethodHS256, secret('a'), soon("nbf", time.Now().Add(time.Minute).Unix()))
		time.Sleep(30*time.Second - 1)
		_, err := j.Authenticate(bearer(token))
		refused(t, err, 401, "not good yet", parts(token)...)
		time.Sleep(1 * time.Nanosecond)
		if _, err := j.Authenticate(bearer(token)); err != nil {
			t.Errorf("refused within the leeway: %v", err)
		}
	})
}

func TestForeverIsForever(t *testing.T) {
	j := newJWT(t, auth.JWTOptions{Secret: secret('a'), AllowForever: true})
	g, err := j.Authenticate(bearer(sign(jwt.SigningMethodHS256, secret('a'), soon("exp", nil))))
	if err != nil || !g.Expires.IsZero() {
		t.Errorf("got %+v, %v, want a grant that never ends", g, err)
	}
}

func TestWhereATokenIsFound(t *testing.T) {
	good := sign(jwt.SigningMethodHS256, secret('a'), soon())
	bad := "a.b.c"
	type request struct {
		method, query, cookie string
		headers               []string
	}
	for _, c := range []struct {
		name   string
		of     request
		cookie string
		reason string // empty: it passes
	}{
		{"in the header", request{headers: []string{"Bearer " + good}}, "", ""},
		{"in the header in small letters", request{headers: []string{"bearer  " + good}}, "", ""},
		{"in the query of a GET", request{query: "access_token=" + good}, "", ""},
		{"in the query of a POST", request{method: "POST", query: "access_token=" + good}, "", "no credentials"},
		{"in the query of a HEAD", request{method: "HEAD", query: "access_token=" + good}, "", "no credentials"},
		{"in the cookie", request{method: "POST", cookie: "session=" + good}, "session", ""},
		{"in a cookie that is not named", request{cookie: "session=" + good}, "", "no credentials"},
		{"in another cookie", request{cookie: "session=" + good}, "token", "no credentials"},
		{"in two cookies", request{cookie: "session=" + good + "; session=" + good}, "session", "several cookies"},
		{"nowhere", request{}, "session", "no credentials"},
		{"in a password", request{headers: []string{"Basic " + good}}, "", "no credentials"},
		{"in the query beside a password", request{headers: []string{"Basic abc"}, query: "access_token=" + good}, "", ""},
		{"in two headers", request{headers: []string{"Bearer " + good, "Bearer " + good}}, "", "several Authorization"},
		{"in the query twice", request{query: "access_token=" + good + "&access_token=" + good}, "", "several times"},
		{"an empty header decides", request{headers: []string{"Bearer"}, query: "access_token=" + good}, "", "not a JWT"},
		{"the header comes before the query", request{headers: []string{"Bearer " + bad}, query: "access_token=" + good}, "", "not a JWT"},
		{"the query comes before the cookie", request{query: "access_token=" + bad, cookie: "s=" + good}, "s", "not a JWT"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := httptest.NewRequest(c.of.method, (&url.URL{Path: "/", RawQuery: c.of.query}).String(), nil)
			r.Header = http.Header{"Authorization": c.of.headers}
			if c.of.cookie != "" {
				r.Header.Set("Cookie", c.of.cookie)
			}
			_, err := newJWT(t, auth.JWTOptions{Secret: secret('a'), Cookie: c.cookie}).Authenticate(r)
			if c.reason != "" {
				refused(t, err, 401, c.reason, parts(good)...)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
}

func TestSecretIsCopied(t *testing.T) {
	key := secret('a')
	j := newJWT(t, auth.JWTOptions{Secret: key})
	clear(key)
	if _, err := j.Authenticate(bearer(sign(jwt.SigningMethodHS256, secret('a'), soon()))); err != nil {
		t.Error(err)
	}
}
