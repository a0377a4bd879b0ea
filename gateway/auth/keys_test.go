package auth_test

import (
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/golang-jwt/jwt/v5"

	"github.com/rhubarb-go/rhubarb/gateway/auth"
)

// Making RSA keys takes long, so the tests share a few.
var (
	rsaKey   = sync.OnceValue(func() *rsa.PrivateKey { return must(rsa.GenerateKey(rand.Reader, 2048)) })
	otherRSA = sync.OnceValue(func() *rsa.PrivateKey { return must(rsa.GenerateKey(rand.Reader, 2048)) })
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func ecKey(c elliptic.Curve) *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(c, rand.Reader)) }

func edKey() ed25519.PrivateKey {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	return must(private, err)
}

func publicPEM(k crypto.Signer) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: must(x509.MarshalPKIXPublicKey(k.Public()))})
}

// sign makes a token. Fields of the header are pairs.
func sign(method jwt.SigningMethod, key any, claims jwt.MapClaims, header ...any) string {
	token := jwt.NewWithClaims(method, claims)
	for i := 0; i < len(header); i += 2 {
		token.Header[header[i].(string)] = header[i+1]
	}
	return must(token.SignedString(key))
}

func bearer(token string) *http.Request {
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Authorization", "Bearer "+token)
	return r
}

// parts are what no error may quote of a token.
func parts(token string) []string { return append(strings.Split(token, "."), token) }

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// jwk is a public key as an identity provider publishes it.
func jwk(k crypto.PublicKey, id string, more ...string) map[string]any {
	m := map[string]any{}
	switch k := k.(type) {
	case *rsa.PublicKey:
		m["kty"], m["n"], m["e"] = "RSA", b64(k.N.Bytes()), b64(big.NewInt(int64(k.E)).Bytes())
	case *ecdsa.PublicKey:
		point := must(k.Bytes())[1:]
		m["kty"], m["crv"] = "EC", k.Params().Name
		m["x"], m["y"] = b64(point[:len(point)/2]), b64(point[len(point)/2:])
	case ed25519.PublicKey:
		m["kty"], m["crv"], m["x"] = "OKP", "Ed25519", b64(k)
	case []byte:
		m["kty"], m["k"] = "oct", b64(k)
	}
	if id != "" {
		m["kid"] = id
	}
	for i := 0; i < len(more); i += 2 {
		m[more[i]] = more[i+1]
	}
	return m
}

func jwks(keys ...map[string]any) []byte {
	if keys == nil {
		keys = []map[string]any{}
	}
	return must(json.Marshal(map[string]any{"keys": keys}))
}

func TestKeysThatAreNotTaken(t *testing.T) {
	private := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: must(x509.MarshalPKCS8PrivateKey(edKey()))})
	short := &rsa.PublicKey{N: new(big.Int).SetBit(big.NewInt(1), 1023, 1), E: 65537}
	long := &rsa.PublicKey{N: new(big.Int).SetBit(big.NewInt(1), 8192, 1), E: 65537}
	asPEM := func(k any) []byte {
		return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: must(x509.MarshalPKIXPublicKey(k))})
	}
	good := publicPEM(edKey())
	for _, c := range []struct {
		name string
		opts auth.JWTOptions
		want string
	}{
		{"no key", auth.JWTOptions{}, "0 of Secret"},
		{"two keys", auth.JWTOptions{Secret: secret('a'), PublicKey: good}, "2 of Secret"},
		{"a secret of 31 bytes", auth.JWTOptions{Secret: secret('a')[:31]}, "31 bytes"},
		{"an empty secret", auth.JWTOptions{Secret: []byte{}}, "0 bytes"},
		{"a key that is not PEM", auth.JWTOptions{PublicKey: []byte("key")}, "not PEM"},
		{"an empty key", auth.JWTOptions{PublicKey: []byte{}}, "not PEM"},
		{"a private key", auth.JWTOptions{PublicKey: private}, "private"},
		{"two keys in one text", auth.JWTOptions{PublicKey: append(good, good...)}, "followed by"},
		{"a certificate", auth.JWTOptions{PublicKey: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE"})}, "CERTIFICATE"},
		{"a key that is not DER", auth.JWTOptions{PublicKey: pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY"})}, "asn1"},
		{"RSA of 1024 bits", auth.JWTOptions{PublicKey: asPEM(short)}, "1024 bits"},
		{"RSA of 8193 bits", auth.JWTOptions{PublicKey: asPEM(long)}, "8193 bits"},
		{"P-224", auth.JWTOptions{PublicKey: publicPEM(ecKey(elliptic.P224()))}, "P-224"},
		{"X25519", auth.JWTOptions{PublicKey: asPEM(must(ecdh.X25519().GenerateKey(rand.Reader)).PublicKey())}, "not supported"},
		{"a key set over http", auth.JWTOptions{KeySetURL: "http://keys.example/"}, "use https"},
		{"a key set in a file", auth.JWTOptions{KeySetURL: "file:///keys"}, "use https"},
		{"a key set nowhere", auth.JWTOptions{KeySetURL: "https:///keys"}, "use https"},
		{"a key set on a host that begins like a loopback one", auth.JWTOptions{KeySetURL: "http://localhost.example/"}, "use https"},
		{"a key set whose address is none", auth.JWTOptions{KeySetURL: "https://%"}, "not a URL"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := auth.NewJWT(c.opts); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
}

func TestKeySetsOnLoopbackHosts(t *testing.T) {
	for _, u := range []string{"http://localhost:1/", "http://127.0.0.1/", "http://127.9.9.9/", "http://[::1]:1/", "https://keys.example/"} {
		if _, err := auth.NewJWT(auth.JWTOptions{KeySetURL: u}); err != nil {
			t.Errorf("%s is not taken: %v", u, err)
		}
	}
}
