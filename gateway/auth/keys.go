package auth

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
)

const (
	minSecret = 32   // bytes; RFC 7518, 3.2: as many as the hash of HS256 has
	minRSA    = 2048 // bits; RFC 7518, 3.3
	maxRSA    = 8192 // bits: more only costs time
)

// key verifies signatures of the algorithms made for its kind, and of no
// others: a public key is never taken for a secret. RFC 8725, 3.1.
type key struct {
	id       string // the kid; empty for one that has none
	algs     []string
	material any // []byte, *rsa.PublicKey, *ecdsa.PublicKey or ed25519.PublicKey
}

// keys finds those that may have signed a token.
type keys interface {
	// algorithms are all that find may be asked for.
	algorithms() []string

	// find returns at least one key, or an *Error. An empty id is any.
	find(ctx context.Context, id, algorithm string) ([]key, error)
}

// fixed is one key. Tokens may name it as they like.
type fixed key

func (k fixed) algorithms() []string { return k.algs }

func (k fixed) find(context.Context, string, string) ([]key, error) { return []key{key(k)}, nil }

// secretKey reads a shared secret.
func secretKey(secret []byte) (key, error) {
	if len(secret) < minSecret {
		return key{}, fmt.Errorf("the secret has %d bytes, it needs %d: make one with openssl rand -hex 32", len(secret), minSecret)
	}
	k := key{algs: []string{"HS256"}, material: bytes.Clone(secret)}
	if len(secret) >= 48 {
		k.algs = append(k.algs, "HS384")
	}
	if len(secret) >= 64 {
		k.algs = append(k.algs, "HS512")
	}
	return k, nil
}

// pemKey reads a public key.
func pemKey(text []byte) (key, error) {
	block, rest := pem.Decode(text)
	if block == nil {
		return key{}, errors.New("the public key is not PEM: it starts with -----BEGIN PUBLIC KEY-----")
	}
	if len(bytes.TrimSpace(rest)) > 0 {
		return key{}, errors.New("the public key is followed by something else: give one key")
	}
	if strings.HasSuffix(block.Type, "PRIVATE KEY") {
		return key{}, errors.New("the key is a private one: give its public half, checking tokens needs no more")
	}
	material, err := parsePublic(block)
	if err != nil {
		return key{}, err
	}
	return publicKey(material)
}

func parsePublic(block *pem.Block) (any, error) {
	switch block.Type {
	case "PUBLIC KEY":
		return x509.ParsePKIXPublicKey(block.Bytes)
	case "RSA PUBLIC KEY":
		return x509.ParsePKCS1PublicKey(block.Bytes)
	}
	return nil, fmt.Errorf("the PEM block is a %s: give a PUBLIC KEY", block.Type)
}

// publicKey pins the algorithms to the kind of the key.
func publicKey(material any) (key, error) {
	switch k := material.(type) {
	case *rsa.PublicKey:
		if bits := k.N.BitLen(); bits < minRSA || bits > maxRSA {
			return key{}, fmt.Errorf("the RSA key has %d bits, it needs %d to %d", bits, minRSA, maxRSA)
		}
		return key{algs: []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}, material: k}, nil
	case *ecdsa.PublicKey:
		// RFC 7518, 3.4: each algorithm has one curve.
		algorithm, ok := map[elliptic.Curve]string{
			elliptic.P256(): "ES256",
			elliptic.P384(): "ES384",
			elliptic.P521(): "ES512",
		}[k.Curve]
		if !ok {
			return key{}, fmt.Errorf("the key is on the curve %s: use P-256, P-384 or P-521", k.Params().Name)
		}
		return key{algs: []string{algorithm}, material: k}, nil
	case ed25519.PublicKey:
		return key{algs: []string{"EdDSA"}, material: k}, nil
	}
	return key{}, fmt.Errorf("keys of the type %T are not supported: use RSA, EC or Ed25519", material)
}

// pick returns the keys that may have signed with the algorithm.
func pick(all []key, id, algorithm string) []key {
	var found []key
	for _, k := range all {
		if (id == "" || k.id == id) && slices.Contains(k.algs, algorithm) {
			found = append(found, k)
		}
	}
	return found
}
