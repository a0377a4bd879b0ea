package auth_test

import (
	"context"
	"crypto/elliptic"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/rhubarb-go/rhubarb/gateway/auth"
)

// provider publishes keys.
type provider struct {
	asked atomic.Int64

	mu     sync.Mutex
	status int
	body   []byte
}

func publish(keys ...map[string]any) *provider { return &provider{status: 200, body: jwks(keys...)} }

func (p *provider) answer(status int, body []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.status, p.body = status, body
}

func (p *provider) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	p.asked.Add(1)
	p.mu.Lock()
	defer p.mu.Unlock()
	w.WriteHeader(p.status)
	_, _ = w.Write(p.body)
}

func (p *provider) wantAsked(t *testing.T, want int64) {
	t.Helper()
	if got := p.asked.Load(); got != want {
		t.Errorf("the keys were read %d times, want %d", got, want)
	}
}

// rs256 is a good token signed with one of the RSA keys.
func rs256(kid string) string {
	return sign(jwt.SigningMethodRS256, rsaKey(), soon(), "kid", kid)
}

func TestKeySetOverHTTPS(t *testing.T) {
	p := publish(jwk(&rsaKey().PublicKey, "one", "use", "sig", "alg", "RS256"))
	srv := httptest.NewTLSServer(p)
	defer srv.Close()
	j := newJWT(t, auth.JWTOptions{KeySetURL: srv.URL, Transport: srv.Client().Transport})
	p.wantAsked(t, 0)
	for range 3 {
		g, err := j.Authenticate(bearer(rs256("one")))
		if err != nil || !g.Allows(auth.CallTask, "mail.send") {
			t.Fatalf("got %+v, %v", g, err)
		}
	}
	p.wantAsked(t, 1)
}

func TestKeysOfASet(t *testing.T) {
	p256, p384, ed := ecKey(elliptic.P256()), ecKey(elliptic.P384()), edKey()
	hidden := jwk(&otherRSA().PublicKey, "private")
	hidden["d"], hidden["p"], hidden["q"] = b64(otherRSA().D.Bytes()), b64(otherRSA().Primes[0].Bytes()), b64(otherRSA().Primes[1].Bytes())
	hidden["dp"], hidden["dq"] = b64(otherRSA().Precomputed.Dp.Bytes()), b64(otherRSA().Precomputed.Dq.Bytes())
	hidden["qi"] = b64(otherRSA().Precomputed.Qinv.Bytes())
	verify := jwk(p384.Public(), "verify")
	verify["key_ops"] = []string{"verify"}
	wrap := jwk(p384.Public(), "wrap")
	wrap["key_ops"] = []string{"wrapKey"}
	srv := httptest.NewServer(publish(
		map[string]any{"kty": "to come", "kid": "strange"},
		jwk(&rsaKey().PublicKey, "rsa"),
		jwk(p256.Public(), "p256", "alg", "ES256"),
		jwk(ed.Public(), "ed", "use", "sig"),
		jwk(ed.Public(), "rsa"), // one kid, two kinds of keys
		jwk(secret('a'), "secret"),
		jwk(&otherRSA().PublicKey, "enc", "use", "enc"),
		jwk(&otherRSA().PublicKey, "ps", "alg", "PS256"),
		jwk(p384.Public(), "wrong", "alg", "ES256"),
		hidden, verify, wrap,
	))
	defer srv.Close()
	j := newJWT(t, auth.JWTOptions{KeySetURL: srv.URL})
	const unknown = "not known"
	for _, c := range []struct {
		name   string
		alg    string
		key    any
		kid    any
		reason string // empty: it passes
	}{
		{"RSA", "RS256", rsaKey(), "rsa", ""},
		{"RSA with another padding", "PS512", rsaKey(), "rsa", ""},
		{"P-256", "ES256", p256, "p256", ""},
		{"Ed25519", "EdDSA", ed, "ed", ""},
		{"a kid that two keys have", "EdDSA", ed, "rsa", ""},
		{"a key for verifying", "ES384", p384, "verify", ""},
		{"no kid", "RS256", rsaKey(), nil, ""},
		{"an empty kid", "ES256", p256, "", ""},
		{"no kid and a key that is not there", "ES256", ecKey(elliptic.P256()), nil, "signature"},
		{"no kid and an algorithm that no key has", "ES512", ecKey(elliptic.P521()), nil, unknown},
		{"a kid that is not there", "RS256", rsaKey(), "other", unknown},
		{"the kid of another key", "RS256", otherRSA(), "rsa", "signature"},
		{"the kid of a key of another kind", "ES256", p256, "ed", unknown},
		{"the kid of a published secret", "HS256", secret('a'), "secret", "use RS256"},
		{"HS256 with a public key as secret", "HS256", publicPEM(rsaKey()), "rsa", "use RS256"},
		{"the kid of a published private key", "RS256", otherRSA(), "private", unknown},
		{"a key for encryption", "RS256", otherRSA(), "enc", unknown},
		{"a key for another algorithm", "RS256", otherRSA(), "ps", unknown},
		{"the algorithm a key is for", "PS256", otherRSA(), "ps", ""},
		{"a key with the algorithm of another curve", "ES384", p384, "wrong", unknown},
		{"a key for wrapping keys", "ES384", p384, "wrap", unknown},
		{"a key of a kind nobody knows", "RS256", otherRSA(), "strange", unknown},
	} {
		t.Run(c.name, func(t *testing.T) {
			token := sign(jwt.GetSigningMethod(c.alg), c.key, soon(), "kid", c.kid)
			g, err := j.Authenticate(bearer(token))
			if c.reason != "" {
				refused(t, err, 401, c.reason, parts(token)...)
			} else if err != nil || g.User != "ada" {
				t.Errorf("got %+v, %v", g, err)
			}
		})
	}
}

func TestKeysRotate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ed := edKey()
		p := publish(jwk(&rsaKey().PublicKey, "one"))
		j := newJWT(t, auth.JWTOptions{KeySetURL: "http://localhost/", Transport: overPipes(t, p)})
		two := sign(jwt.SigningMethodEdDSA, ed, soon(), "kid", "two")
		passes := func(token string) error { _, err := j.Authenticate(bearer(token)); return err }

		if err := passes(rs256("one")); err != nil {
			t.Fatal(err)
		}
		p.answer(200, jwks(jwk(ed.Public(), "two")))
		refused(t, passes(two), 401, "not known", parts(two)...)
		p.wantAsked(t, 1)

		time.Sleep(time.Minute)
		if err := passes(two); err != nil {
			t.Errorf("the new key is refused after a minute: %v", err)
		}
		p.wantAsked(t, 2)
		refused(t, passes(rs256("one")), 401, "not known")
		for range 50 {
			refused(t, passes(rs256("made up")), 401, "not known")
		}
		p.wantAsked(t, 2)
	})
}

func TestKeysAreReadAgainInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := publish(jwk(&rsaKey().PublicKey, "one"))
		j := newJWT(t, auth.JWTOptions{KeySetURL: "http://localhost/", Transport: overPipes(t, p)})
		token := rs256("one")
		if _, err := j.Authenticate(bearer(token)); err != nil {
			t.Fatal(err)
		}
		p.answer(200, jwks()) // the provider takes its key back
		time.Sleep(15*time.Minute - 1)
		if _, err := j.Authenticate(bearer(token)); err != nil {
			t.Errorf("refused while the keys are fresh: %v", err)
		}
		time.Sleep(1 * time.Nanosecond)
		_, err := j.Authenticate(bearer(token))
		refused(t, err, 401, "not known", parts(token)...)
		p.wantAsked(t, 2)
	})
}

func TestKnownKeysOutliveTheirProvider(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := publish(jwk(&rsaKey().PublicKey, "one"))
		j := newJWT(t, auth.JWTOptions{KeySetURL: "http://localhost/", Transport: overPipes(t, p), AllowForever: true})
		token := sign(jwt.SigningMethodRS256, rsaKey(), soon("exp", nil), "kid", "one")
		for i := range 10 {
			if _, err := j.Authenticate(bearer(token)); err != nil {
				t.Fatalf("refused after %d hours: %v", i, err)
			}
			p.answer(500, nil)
			time.Sleep(time.Hour)
		}
		_, err := j.Authenticate(bearer(rs256("two")))
		refused(t, err, 503, "in a minute")
		p.answer(200, jwks(jwk(&rsaKey().PublicKey, "two")))
		time.Sleep(time.Minute)
		if _, err := j.Authenticate(bearer(rs256("two"))); err != nil {
			t.Errorf("refused when the provider is back: %v", err)
		}
	})
}

func TestProviderThatComesLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &provider{status: 502}
		j := newJWT(t, auth.JWTOptions{KeySetURL: "http://localhost/", Transport: overPipes(t, p)})
		token := rs256("one")
		for range 10 {
			_, err := j.Authenticate(bearer(token))
			refused(t, err, 503, "cannot be read now", parts(token)...)
		}
		p.wantAsked(t, 1)
		p.answer(200, jwks(jwk(&rsaKey().PublicKey, "one")))
		time.Sleep(5 * time.Second)
		if _, err := j.Authenticate(bearer(token)); err != nil {
			t.Errorf("refused when the provider is there: %v", err)
		}
	})
}

func TestKeySetsThatAreNotTaken(t *testing.T) {
	good := jwk(&rsaKey().PublicKey, "one")
	many := make([]map[string]any, 101)
	for i := range many {
		many[i] = map[string]any{"kty": "oct"}
	}
	for _, c := range []struct {
		name   string
		status int
		body   []byte
		want   string // in the error for the log
	}{
		{"a failure", 500, jwks(good), "500"},
		{"something created", 201, jwks(good), "201"},
		{"a redirect", 302, jwks(good), "302"},
		{"no JSON", 200, []byte("<html>"), "not a JWK Set"},
		{"no keys", 200, []byte("{}"), `no "keys"`},
		{"too many bytes", 200, append(jwks(good), strings.Repeat(" ", 256<<10)...), "256 KiB"},
		{"too many keys", 200, jwks(many...), "100 keys"},
	} {
		t.Run(c.name, func(t *testing.T) {
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/moved" {
					_, _ = w.Write(jwks(good))
					return
				}
				w.Header().Set("Location", "/moved")
				w.WriteHeader(c.status)
				_, _ = w.Write(c.body)
			}))
			defer srv.Close()
			_, err := newJWT(t, auth.JWTOptions{KeySetURL: srv.URL}).Authenticate(bearer(rs256("one")))
			refused(t, err, 503, "cannot be read now", parts(rs256("one"))...)
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %q, want %q in it", err, c.want)
			}
			if e, _ := errors.AsType[*auth.Error](err); strings.Contains(e.Reason, srv.URL) {
				t.Errorf("the reason %q gives the address away", e.Reason)
			}
		})
	}
}

func TestProviderThatIsDown(t *testing.T) {
	srv := httptest.NewServer(publish())
	srv.Close()
	_, err := newJWT(t, auth.JWTOptions{KeySetURL: srv.URL}).Authenticate(bearer(rs256("one")))
	refused(t, err, 503, "cannot be read now")
}

func TestProviderThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newJWT(t, auth.JWTOptions{KeySetURL: "http://localhost/", Transport: overPipes(t, http.HandlerFunc(
			func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		))})
		start := time.Now()
		_, err := j.Authenticate(bearer(rs256("one")))
		refused(t, err, 503, "cannot be read now")
		if got := time.Since(start); got != 5*time.Second {
			t.Errorf("gave up after %s, want 5s", got)
		}
	})
}

func TestKeysAreReadOnceForMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, open := publish(jwk(&rsaKey().PublicKey, "one")), make(chan struct{})
		j := newJWT(t, auth.JWTOptions{KeySetURL: "http://localhost/", Transport: overPipes(t, http.HandlerFunc(
			func(w http.ResponseWriter, r *http.Request) { <-open; p.ServeHTTP(w, r) },
		))})
		ctx, leave := context.WithCancel(t.Context())
		left := make(chan error, 1)
		go func() {
			_, err := j.Authenticate(bearer(rs256("one")).WithContext(ctx))
			left <- err
		}()
		synctest.Wait()
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() {
				if _, err := j.Authenticate(bearer(rs256("one"))); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		leave() // who asked first: the others still wait
		refused(t, <-left, 503, "request ended")
		close(open)
		all.Wait()
		p.wantAsked(t, 1)
	})
}
