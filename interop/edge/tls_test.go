package edge_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A browser opens six connections to a host over HTTP/1.1, and the seventh
// stream would wait in silence.
func TestTenStreamsShareOneConnectionOverHTTP2(t *testing.T) {
	t.Parallel()
	cert, key := certificate(t)
	s := serve(t, "--tls-cert", cert, "--tls-key", key)
	front := openCounter(t, s.addr)
	e := &edge{url: "https://" + front.addr}
	p := browse(t, e.url)
	before := front.opened.Load()
	room := "room." + newName()
	var all []*client
	for range 10 {
		all = append(all, p.follow(eventSource, e.url+"/groups/"+room+"/events"))
	}
	for _, c := range all {
		c.await(1, "open", isOpen)
	}
	if n := front.opened.Load() - before; n != 0 {
		t.Errorf("ten streams took %d connections more than the page's", n)
	}
	for n := 1; n <= 2; n++ {
		p.publish(e.url+"/groups/"+room, eventOf(n))
		for _, c := range all {
			c.hears(n)
		}
	}
	s.stop()
	for _, c := range all {
		c.await(1, "lost", isLost)
	}
	s.start()
	p.publish(e.url+"/groups/"+room, eventOf(3))
	for _, c := range all {
		c.hears(3)
		c.heard(3)
	}
}

// counter passes connections on and counts them.
type counter struct {
	addr   string
	opened atomic.Int64
}

func openCounter(t *testing.T, to string) *counter {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &counter{addr: ln.Addr().String()}
	var work sync.WaitGroup
	work.Go(func() {
		for {
			in, err := ln.Accept()
			if err != nil {
				return // it was closed
			}
			c.opened.Add(1)
			work.Go(func() { pass(in, to) })
		}
	})
	t.Cleanup(work.Wait)
	t.Cleanup(func() { ln.Close() })
	return c
}

// pass passes bytes both ways until one side ends, for whatever reason.
func pass(in net.Conn, to string) {
	defer in.Close()
	out, err := net.Dial("tcp", to)
	if err != nil {
		return // nobody is there while the server restarts
	}
	var back sync.WaitGroup
	defer back.Wait()
	defer out.Close()
	back.Go(func() {
		defer in.Close()
		_, _ = io.Copy(in, out)
	})
	_, _ = io.Copy(out, in)
}

// certificate writes a self-signed pair for 127.0.0.1.
func certificate(t *testing.T) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	public, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	write(t, cert, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: public})))
	write(t, key, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})))
	return cert, key
}
