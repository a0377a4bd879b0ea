package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/MicahParks/keyfunc/v3"
	"golang.org/x/sync/singleflight"
)

const (
	maxKeySet      = 256 << 10        // bytes
	maxKeys        = 100              // in a set
	keySetTimeout  = 5 * time.Second  // for one fetch
	keySetFresh    = 15 * time.Minute // after which a set is read again
	keySetPause    = time.Minute      // between fetches
	keySetStarting = 5 * time.Second  // between fetches, until one succeeded
)

// keySet are the keys that an identity provider publishes. It has no goroutine
// but a fetch, which a request starts and keySetTimeout ends.
type keySet struct {
	url    string
	client *http.Client
	flight singleflight.Group

	mu       sync.Mutex
	all      []key     // replaced, never changed
	read     time.Time // when all was read; zero before the first time
	asked    time.Time // when the last fetch began
	fetching bool
	failed   error // of the last fetch
}

func newKeySet(address string, transport http.RoundTripper) (*keySet, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, errors.New("the KeySetURL is not a URL") // whose text may have a password in it
	}
	if u.Host == "" || u.Scheme != "https" && (u.Scheme != "http" || !loopback(u.Hostname())) {
		return nil, fmt.Errorf("the KeySetURL %s can be changed on its way: use https, http is for loopback hosts alone", u.Redacted())
	}
	return &keySet{url: address, client: oneHop(transport)}, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// oneHop makes a client that does not follow redirects: the address was chosen
// with care, where it leads was not. Deadlines are the callers'.
func oneHop(transport http.RoundTripper) *http.Client {
	return &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func (s *keySet) algorithms() []string {
	return []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
}

func (s *keySet) find(ctx context.Context, id, algorithm string) ([]key, error) {
	found, due := s.look(id, algorithm)
	if due {
		fetched := s.flight.DoChan("", func() (any, error) { s.fetch(ctx); return nil, nil })
		select {
		case <-fetched:
		case <-ctx.Done():
			return nil, unavailable("the request ended before the keys for tokens were read", context.Cause(ctx))
		}
		found, _ = s.look(id, algorithm)
	}
	if len(found) > 0 {
		return found, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed != nil {
		return nil, unavailable("the keys for tokens cannot be read now: try again in a minute", s.failed)
	}
	return nil, refuse("the token is signed with a key that is not known here: get a new token")
}

// look returns the keys known, and whether to fetch before using them.
func (s *keySet) look(id, algorithm string) (found []key, due bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	found = pick(s.all, id, algorithm)
	if len(found) == 0 {
		return nil, s.fetching || s.restedLocked()
	}
	return found, time.Since(s.read) >= keySetFresh && s.restedLocked()
}

// restedLocked reports whether the last fetch was long enough ago.
func (s *keySet) restedLocked() bool {
	pause := keySetPause
	if s.read.IsZero() {
		pause = keySetStarting
	}
	return time.Since(s.asked) >= pause
}

// fetch reads the set anew, unless someone did since the caller looked.
func (s *keySet) fetch(ctx context.Context) {
	s.mu.Lock()
	rested := s.restedLocked()
	if rested {
		s.asked, s.fetching = time.Now(), true
	}
	s.mu.Unlock()
	if !rested {
		return
	}
	// Others wait for this too: the end of one request must not end it.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), keySetTimeout)
	defer cancel()
	all, err := s.get(ctx)

	s.mu.Lock()
	defer s.mu.Unlock()
	s.fetching, s.failed = false, err
	if err == nil {
		s.all, s.read = all, time.Now()
	}
}

func (s *keySet) get(ctx context.Context) ([]key, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/jwk-set+json, application/json")
	res, err := s.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the key set was answered with %s", res.Status)
	}
	raw, err := io.ReadAll(io.LimitReader(res.Body, maxKeySet+1))
	if err != nil {
		return nil, fmt.Errorf("read the key set: %w", err)
	}
	return readKeySet(raw)
}

// readKeySet reads a JWK Set and leaves out what cannot verify here, as RFC
// 7517, 5 asks for. Private and symmetric keys are left out too: what is
// published is no secret.
func readKeySet(raw []byte) ([]key, error) {
	if len(raw) > maxKeySet {
		return nil, errors.New("the key set has more than 256 KiB")
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(raw, &set); err != nil {
		return nil, fmt.Errorf("the key set is not a JWK Set: %w", err)
	}
	if set.Keys == nil {
		return nil, errors.New(`the key set is not a JWK Set: it has no "keys"`)
	}
	if len(set.Keys) > maxKeys {
		return nil, fmt.Errorf("the key set has more than %d keys", maxKeys)
	}
	var all []key
	for _, raw := range set.Keys {
		if k, ok := readJWK(raw); ok {
			all = append(all, k)
		}
	}
	return all, nil
}

func readJWK(raw []byte) (key, bool) {
	parsed, err := keyfunc.NewJWKJSON(raw)
	if err != nil {
		return key{}, false
	}
	jwks, err := parsed.Storage().KeyReadAll(context.Background()) // it is in memory
	if err != nil || len(jwks) != 1 {
		return key{}, false
	}
	jwk, material := jwks[0].Marshal(), jwks[0].Key()
	k, err := publicKey(material)
	if err != nil || jwk.USE != "" && jwk.USE != "sig" || len(jwk.KEYOPS) > 0 && !slices.Contains(jwk.KEYOPS, "verify") {
		return key{}, false
	}
	k.id = jwk.KID
	if jwk.ALG != "" {
		if !slices.Contains(k.algs, jwk.ALG.String()) {
			return key{}, false
		}
		k.algs = []string{jwk.ALG.String()}
	}
	return k, true
}
