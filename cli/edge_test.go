package cli_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/golang-jwt/jwt/v5"
)

const edgeSecret = "a secret that is long enough for HS256"

// served runs the subcommand serve until the test ends and returns its address.
func (s *shell) served(args ...string) string {
	s.t.Helper()
	errs := watched()
	s.until("serve", func(ctx context.Context) error {
		s.p.Run(ctx, append([]string{"serve", "--addr", "127.0.0.1:0"}, args...), io.Discard, errs)
		return nil
	})
	return regexp.MustCompile(`https?://127\.0\.0\.1:\d+`).FindString(errs.has(s.t, "msg=serving url="))
}

// token is signed for ada, who may use the group garden and stop nothing.
func token(t *testing.T) string {
	t.Helper()
	claims := jwt.MapClaims{
		"sub": "ada", "exp": time.Now().Add(time.Hour).Unix(),
		"rhubarb": json.RawMessage(`{"groups": {"read": ["garden"], "write": ["garden"]}}`),
	}
	signed, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte(edgeSecret))
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

// certificate writes a self-signed pair for 127.0.0.1.
func certificate(t *testing.T) (cert, key string, pool *x509.CertPool) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	public := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	pool = x509.NewCertPool()
	pool.AppendCertsFromPEM(public)
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, text := range map[string][]byte{cert: public, key: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw})} {
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key, pool
}

func TestServeLetsInWhoHasAToken(t *testing.T) {
	s := open(t)
	url := s.served("--group", "*", "--jwt-secret", edgeSecret, "--ticket-secret", "another secret that is long enough.", "--anonymous", "news")
	for _, c := range []struct {
		method, path, body, token string
		want                      int
	}{
		{"POST", "/groups/garden", `{"type":"x"}`, "", 403},
		{"POST", "/groups/garden", `{"type":"x"}`, "forged", 401},
		{"POST", "/groups/garden", `{"type":"x"}`, token(t), 202},
		{"POST", "/groups/other", `{"type":"x"}`, token(t), 403},
		{"POST", "/groups/news", `{"type":"x"}`, "", 403},
		{"GET", "/groups/news", "", "", 200},
		{"POST", "/tasks/math.add", `{"args":[{"a":1}]}`, token(t), 403},
		{"GET", "/healthz", "", "", 200},
	} {
		req, err := http.NewRequest(c.method, url+c.path, strings.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		if c.token != "" {
			req.Header.Set("Authorization", "Bearer "+c.token)
		}
		if res := do(t, req); res.StatusCode != c.want {
			t.Errorf("%s %s: got %d %s, want %d", c.method, c.path, res.StatusCode, res.body, c.want)
		}
	}
}

func TestServeSpeaksTLS(t *testing.T) {
	cert, key, pool := certificate(t)
	s := open(t)
	url := s.served("--group", "garden", "--tls-cert", cert, "--tls-key", key)
	for protocol, force := range map[string]bool{"HTTP/2.0": true, "HTTP/1.1": false} {
		transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: force, DisableKeepAlives: true}
		client := &http.Client{Transport: transport}
		res, err := client.Get(url + "/healthz")
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != 200 || res.Proto != protocol {
			t.Errorf("got %d over %s, want %s", res.StatusCode, res.Proto, protocol)
		}
		transport.CloseIdleConnections()
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, DisableKeepAlives: true}
	ws, _, err := websocket.Dial(t.Context(), "wss"+strings.TrimPrefix(url, "https")+"/groups/garden/ws", &websocket.DialOptions{HTTPClient: &http.Client{Transport: transport}})
	if err != nil {
		t.Fatal(err)
	}
	defer ws.CloseNow()
	s.want(0, "", "", "group", "send", "garden", "x")
	if _, got, err := ws.Read(t.Context()); err != nil || string(got) != `{"type":"x"}` {
		t.Errorf("heard %s, %v", got, err)
	}
}

func TestServeKeepsWhatIsSentToGroups(t *testing.T) {
	s := open(t)
	url := s.served("--group", "garden", "--keep", "1h")
	for _, body := range []string{`{"type":"x","n":1}`, `{"type":"x","n":2}`} {
		if res := fetch(t, "POST", url+"/groups/garden", body); res.StatusCode != http.StatusAccepted {
			t.Fatalf("publish: got %d %s", res.StatusCode, res.body)
		}
	}
	ws, _, err := websocket.Dial(t.Context(), "ws"+strings.TrimPrefix(url, "http")+"/groups/garden/ws?last=1", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer ws.CloseNow()
	if _, got, err := ws.Read(t.Context()); err != nil || string(got) != `{"n":2,"type":"x"}` {
		t.Errorf("heard %s, %v", got, err)
	}
}

func TestBadEdgeFlags(t *testing.T) {
	cert, key, _ := certificate(t)
	secret := "--jwt-secret=" + edgeSecret
	s := open(t)
	for _, c := range []struct {
		want string
		args []string
	}{
		{"--jwt-secret: ", []string{"--jwt-secret=short"}},
		{"--jwt-secret and --jwt-key are given", []string{secret, "--jwt-key=" + cert}},
		{"--jwks and --jwt-secret are given", []string{secret, "--jwks=https://example.org/keys"}},
		{"--jwks: ", []string{"--jwks=nowhere"}},
		{"no such file", []string{"--jwt-key=" + cert + ".not"}},
		{"--jwt-key: ", []string{"--jwt-key=" + key}},
		{"need a key: add --jwt-secret", []string{"--jwt-issuer=me"}},
		{"need a key: add --jwt-secret", []string{"--jwt-cookie=sessionid"}},
		{"--ticket-secret: ", []string{secret, "--ticket-secret=short"}},
		{"nobody can ask for one", []string{"--ticket-secret=" + edgeSecret}},
		{"--forward-auth: ", []string{"--forward-auth=nowhere"}},
		{"--max-per-user -1 is negative", []string{"--max-per-user=-1"}},
		{"--max-per-user needs to know users", []string{"--max-per-user=5"}},
		{"--max-connections -1 is negative", []string{"--max-connections=-1"}},
		{"--tls-cert and --tls-key belong together", []string{"--tls-cert=" + cert}},
		{"--tls-cert " + key, []string{"--tls-cert=" + key, "--tls-key=" + key}},
		{"--keep -1s is negative", []string{"--keep=-1s"}},
		{"--keep 5ms is less than a second", []string{"--keep=5ms"}},
	} {
		exit, out, errs := s.run(append([]string{"serve", "--addr", "127.0.0.1:0", "--group=g"}, c.args...)...)
		if exit != 2 || out != "" || !strings.Contains(errs, c.want) || strings.Contains(errs, edgeSecret) {
			t.Errorf("serve %s: got exit %d, %q, %q; want 2 and …%s…", c.args, exit, out, errs, c.want)
		}
	}
}
