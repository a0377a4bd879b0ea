package auth

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

const (
	maxToken   = 8 << 10          // bytes
	leeway     = 30 * time.Second // by which clocks may differ
	lastSecond = 253402300799     // the end of the year 9999, since 1970
)

// JWTOptions says which tokens are good. Exactly one of Secret, PublicKey and
// KeySetURL must be set.
type JWTOptions struct {
	// Secret is shared with who signs: at least 32 bytes for HS256, 48 for
	// HS384, 64 for HS512.
	Secret []byte

	// PublicKey is in PEM: RSA of 2048 to 8192 bits for RS and PS, P-256,
	// P-384 and P-521 for ES256, ES384 and ES512, Ed25519 for EdDSA.
	PublicKey []byte

	// KeySetURL is where an identity provider publishes its keys as a JWK Set
	// (RFC 7517). It must be https, or http on a loopback host. Keys are read
	// when the first token needs them, again after 15 minutes, and for a token
	// with an unknown kid at most once a minute. Known keys stay good while
	// the address does not answer. Redirects are not followed.
	KeySetURL string

	// Transport fetches the KeySetURL. Nil means http.DefaultTransport.
	Transport http.RoundTripper

	// Issuer and Audience must be in the claims iss and aud. Empty means not
	// checked: leave Audience empty only if the keys sign for nobody else.
	Issuer, Audience string

	// AllowForever takes tokens without exp, which can never be taken back.
	AllowForever bool

	// Cookie names a cookie that may hold the token. Empty means none. Pages
	// of other sites can send cookies: check the origin where one counts.
	Cookie string
}

// JWT checks signed tokens (RFC 7519). See [NewJWT].
type JWT struct {
	keys   keys
	parser *jwt.Parser
	opts   JWTOptions
}

// NewJWT returns an authenticator for signed tokens of at most 8 KiB. They are
// looked for in the header Authorization: Bearer, then, for GET alone, in the
// query parameter access_token, then in the cookie. The claims are sub for the
// user, exp, nbf, and "rhubarb" for the permissions; times may differ by 30
// seconds, which [Grant.Expires] includes.
func NewJWT(o JWTOptions) (*JWT, error) {
	keys, err := o.keys()
	if err != nil {
		return nil, fmt.Errorf("auth: keys for tokens: %w", err)
	}
	opts := []jwt.ParserOption{
		jwt.WithValidMethods(keys.algorithms()),
		jwt.WithLeeway(leeway),
		jwt.WithStrictDecoding(),
	}
	if !o.AllowForever {
		opts = append(opts, jwt.WithExpirationRequired())
	}
	if o.Issuer != "" {
		opts = append(opts, jwt.WithIssuer(o.Issuer))
	}
	if o.Audience != "" {
		opts = append(opts, jwt.WithAudience(o.Audience))
	}
	return &JWT{keys: keys, parser: jwt.NewParser(opts...), opts: o}, nil
}

func (o JWTOptions) keys() (keys, error) {
	var given int
	for _, set := range []bool{o.Secret != nil, o.PublicKey != nil, o.KeySetURL != ""} {
		if set {
			given++
		}
	}
	if given != 1 {
		return nil, fmt.Errorf("%d of Secret, PublicKey and KeySetURL are set: set one", given)
	}
	if o.KeySetURL != "" {
		return newKeySet(o.KeySetURL, o.Transport)
	}
	var k key
	var err error
	if o.Secret != nil {
		k, err = secretKey(o.Secret)
	} else {
		k, err = pemKey(o.PublicKey)
	}
	return fixed(k), err
}

// tokenText is what tokens are written with. RFC 7515, 7.1; RFC 4648, 5.
const tokenText = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_."

// Authenticate checks the token of the request.
func (j *JWT) Authenticate(r *http.Request) (*Grant, error) {
	text, err := j.find(r)
	if err != nil {
		return nil, err
	}
	if len(text) > maxToken {
		return nil, refuse("the token has more than 8 KiB: put less into it")
	}
	if strings.Trim(text, tokenText) != "" { // Go's base64 reads over line ends, so one token would have many forms
		return nil, refuse("the token is not a JWT: it has characters beside letters, digits, dots, - and _")
	}
	var c claims
	token, err := j.parser.ParseWithClaims(text, &c, func(t *jwt.Token) (any, error) { return j.choose(r, t) })
	if err != nil {
		return nil, j.explain(token, err)
	}
	return c.grant()
}

// find returns the text of the token.
func (j *JWT) find(r *http.Request) (string, error) {
	headers := r.Header.Values("Authorization")
	if len(headers) > 1 {
		return "", refuse("the request has several Authorization headers: send one")
	}
	for _, h := range headers {
		if scheme, token, _ := strings.Cut(h, " "); strings.EqualFold(scheme, "Bearer") {
			return strings.TrimSpace(token), nil
		}
	}
	if r.Method == http.MethodGet {
		if token, err := parameter(r, "access_token"); err != ErrNone {
			return token, err
		}
	}
	if j.opts.Cookie == "" {
		return "", ErrNone
	}
	switch cookies := r.CookiesNamed(j.opts.Cookie); len(cookies) {
	case 0:
		return "", ErrNone
	case 1:
		return cookies[0].Value, nil
	}
	return "", refuse("the request has several cookies of one name: delete those that are not meant")
}

// parameter returns a query parameter that may be there once.
func parameter(r *http.Request, name string) (string, error) {
	switch values := r.URL.Query()[name]; len(values) {
	case 0:
		return "", ErrNone
	case 1:
		return values[0], nil
	}
	return "", refuse("the query parameter " + name + " is there several times: send one")
}

// choose returns the keys that may have signed a token. Nothing in it can be
// trusted yet.
func (j *JWT) choose(r *http.Request, t *jwt.Token) (any, error) {
	if _, ok := t.Header["crit"]; ok {
		// RFC 7515, 4.1.11: who does not understand all of it must refuse.
		return nil, refuse("the token has extensions that must be understood (crit): issue one without")
	}
	id, ok := t.Header["kid"].(string)
	if !ok && t.Header["kid"] != nil {
		return nil, refuse("the kid of the token is not a string: issue one as RFC 7515 says")
	}
	found, err := j.keys.find(r.Context(), id, t.Method.Alg())
	if err != nil {
		return nil, err
	}
	var set jwt.VerificationKeySet
	for _, k := range found {
		set.Keys = append(set.Keys, k.material)
	}
	return set, nil
}

// reasons translates errors of the parser, whose texts may quote the token.
// The first that fits is given.
var reasons = []struct {
	err    error
	reason string
}{
	{jwt.ErrTokenSignatureInvalid, "the signature of the token does not fit: get a token from who issues them for this server"},
	{jwt.ErrTokenExpired, "the token expired: get a new one"},
	{jwt.ErrTokenNotValidYet, "the token is not good yet: wait, or compare the clocks"},
	{jwt.ErrTokenInvalidAudience, "the token is for another audience (aud): get one for this server"},
	{jwt.ErrTokenInvalidIssuer, "the token is from another issuer (iss): get one for this server"},
}

func (j *JWT) explain(t *jwt.Token, err error) error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	if errors.Is(err, jwt.ErrTokenMalformed) {
		return refuse("the token is not a JWT: send the whole of it, as it was issued")
	}
	if t == nil || t.Method == nil || !slices.Contains(j.keys.algorithms(), t.Method.Alg()) {
		return refuse("the token is signed in a way that the keys here are not for: use " + strings.Join(j.keys.algorithms(), ", "))
	}
	for _, r := range reasons {
		if errors.Is(err, r.err) {
			return refuse(r.reason)
		}
	}
	if errors.Is(err, jwt.ErrTokenRequiredClaimMissing) {
		return refuse("the token lacks a claim: it needs " + strings.Join(j.required(), ", "))
	}
	return refuse("the token is not good: get a new one")
}

func (j *JWT) required() []string {
	var names []string
	if !j.opts.AllowForever {
		names = append(names, "exp")
	}
	if j.opts.Issuer != "" {
		names = append(names, "iss")
	}
	if j.opts.Audience != "" {
		names = append(names, "aud")
	}
	return names
}

// claims leaves the permissions unread until the signature is known to fit.
type claims struct {
	jwt.RegisteredClaims
	Rhubarb json.RawMessage `json:"rhubarb"`
}

func (c claims) grant() (*Grant, error) {
	var g Grant
	if c.Rhubarb != nil {
		var err error
		if g, err = readClaim(c.Rhubarb); err != nil {
			return nil, refuse(`the claim "rhubarb" of the token ` + err.Error())
		}
	}
	if len(c.Subject) > maxUser {
		return nil, refuse("the sub of the token has more than 256 bytes: use a shorter one")
	}
	g.User = c.Subject
	if c.ExpiresAt != nil {
		if c.ExpiresAt.Unix() > lastSecond {
			return nil, refuse("the exp of the token is after the year 9999: it counts seconds, not milliseconds")
		}
		g.Expires = c.ExpiresAt.Add(leeway)
	}
	return &g, nil
}
