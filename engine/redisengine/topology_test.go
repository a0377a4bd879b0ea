package redisengine_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// certificates are an authority's and one for 127.0.0.1, which serves server
// and client.
type certificates struct {
	dir, ca, cert, key string
	port               int // of the server that has them
}

func newCertificates(t testing.TB) *certificates {
	t.Helper()
	dir := t.TempDir()
	c := &certificates{dir: dir, ca: filepath.Join(dir, "ca.pem"), cert: filepath.Join(dir, "cert.pem"), key: filepath.Join(dir, "key.pem")}
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "test server"}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	caKey, key := newKey(t), newKey(t)
	writePEM(t, c.ca, "CERTIFICATE", sign(t, ca, ca, &caKey.PublicKey, caKey))
	writePEM(t, c.cert, "CERTIFICATE", sign(t, leaf, ca, &key.PublicKey, caKey))
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	writePEM(t, c.key, "PRIVATE KEY", der)
	return c
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func sign(t testing.TB, c, parent *x509.Certificate, pub *ecdsa.PublicKey, by *ecdsa.PrivateKey) []byte {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, c, parent, pub, by)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func writePEM(t testing.TB, path, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

// serverArgs has a redis-server speak TLS on a second port, and want a
// certificate of its clients, as it does by default.
func (c *certificates) serverArgs(port int) []string {
	c.port = port
	return []string{"--tls-port", fmt.Sprint(port), "--tls-cert-file", c.cert, "--tls-key-file", c.key, "--tls-ca-cert-file", c.ca}
}

// client is the part of a URL's query that names the client's certificate.
func (c *certificates) client() string { return "ssl_certfile=" + c.cert + "&ssl_keyfile=" + c.key }

// cli runs redis-cli against a server and returns what it says.
func (s *redisServer) cli(t testing.TB, args ...string) string {
	t.Helper()
	out, err := exec.Command(binary(t, "redis-cli"), append([]string{"-p", fmt.Sprint(s.port)}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("redis-cli %v: %v: %s", args, err, out)
	}
	return string(out)
}

func until(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !holds(); {
		if time.Now().After(deadline) {
			t.Fatalf("after 30s still not: %s", what)
		}
		<-time.After(20 * time.Millisecond) // redis-cli only tells when it is asked
	}
}

// startCluster starts three nodes and returns their URL.
func startCluster(t testing.TB) string {
	t.Helper()
	const nodes, slots = 3, 16384
	var all []*redisServer
	var hosts []string
	for i := range nodes {
		bus := fmt.Sprint(freePort(t))
		s := startRedis(t, "--cluster-enabled", "yes", "--cluster-port", bus, "--cluster-node-timeout", "5000")
		all, hosts = append(all, s), append(hosts, s.addr())
		s.cli(t, "cluster", "addslotsrange", fmt.Sprint(i*slots/nodes), fmt.Sprint((i+1)*slots/nodes-1))
		s.cli(t, "config", "set", "cluster-announce-ip", "127.0.0.1")
		all[0].cli(t, "cluster", "meet", "127.0.0.1", fmt.Sprint(s.port), bus)
	}
	until(t, "the cluster is whole", func() bool {
		for _, s := range all {
			if info := s.cli(t, "cluster", "info"); !strings.Contains(info, "cluster_state:ok") || !strings.Contains(info, "cluster_size:3") {
				return false
			}
		}
		return true
	})
	return "redis+cluster://" + strings.Join(hosts, ",") + "?global_keyprefix={celery}:"
}

// startSentinel starts a master with a replica and a Sentinel that watches
// them, all with passwords.
func startSentinel(t testing.TB) (master *redisServer, url string) {
	t.Helper()
	auth := []string{"--requirepass", "s3cret", "--masterauth", "s3cret", "--repl-diskless-sync-delay", "0"}
	master = startRedis(t, auth...)
	replica := startRedis(t, append(auth, "--replicaof", "127.0.0.1", fmt.Sprint(master.port))...)
	ask := func(s *redisServer, args ...string) string {
		return strings.TrimSpace(s.cli(t, append([]string{"--no-auth-warning", "-a", "s3cret"}, args...)...))
	}
	until(t, "the replica has all", func() bool { return strings.Contains(ask(replica, "info", "replication"), "master_link_status:up") })
	// Both call the link up before the master sends what is new, which it does
	// once the replica has acknowledged something, up to a second later.
	ask(master, "set", "new", "1")
	until(t, "the replica has what is new", func() bool { return ask(replica, "get", "new") == "1" })
	ask(master, "del", "new")
	s := &redisServer{dir: t.TempDir(), port: freePort(t)}
	conf := filepath.Join(s.dir, "sentinel.conf")
	text := fmt.Sprintf(`port %d
bind 127.0.0.1
dir %s
logfile redis.log
requirepass w4tch
sentinel sentinel-pass w4tch
sentinel monitor m 127.0.0.1 %d 1
sentinel auth-pass m s3cret
sentinel down-after-milliseconds m 500
sentinel failover-timeout m 3000
`, s.port, s.dir, master.port)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s.cmd = exec.Command(binary(t, "redis-sentinel"), conf)
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.kill)
	until(t, "the Sentinel answers", func() bool { return answers("tcp", s.addr()) })
	until(t, "the Sentinel knows the replica", func() bool {
		return strings.Contains(s.cli(t, "--no-auth-warning", "-a", "w4tch", "sentinel", "replicas", "m"), fmt.Sprint(replica.port))
	})
	return master, fmt.Sprintf("sentinel://:s3cret@127.0.0.1:%d;sentinel://127.0.0.1:%d/0?master_name=m&sentinel_password=w4tch", freePort(t), s.port)
}
