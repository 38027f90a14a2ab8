package edge

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// authority signs certificates for tests.
type authority struct {
	t    testing.TB
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t testing.TB, name string) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir()}
	a.key = a.newKey()
	template := a.template(name)
	template.IsCA, template.BasicConstraintsValid, template.KeyUsage = true, true, x509.KeyUsageCertSign
	a.cert = a.sign(template, template, &a.key.PublicKey)
	return a
}

func (a *authority) newKey() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	return key
}

func (a *authority) template(name string) *x509.Certificate {
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<60))
	if err != nil {
		a.t.Fatal(err)
	}
	return &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
}

func (a *authority) sign(template, parent *x509.Certificate, public *ecdsa.PublicKey) *x509.Certificate {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return cert
}

func (a *authority) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
}

// write puts a new certificate for name into files by rename and returns it.
func (a *authority) write(files CertificateFiles, name string) *x509.Certificate {
	a.t.Helper()
	key := a.newKey()
	cert := a.sign(a.template(name), a.cert, &key.PublicKey)
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	a.replace(files.Certificate, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}))
	a.replace(files.Key, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}))
	return cert
}

func (a *authority) replace(name string, content []byte) {
	a.t.Helper()
	if err := os.WriteFile(name+".new", content, 0o600); err != nil {
		a.t.Fatal(err)
	}
	if err := os.Rename(name+".new", name); err != nil {
		a.t.Fatal(err)
	}
}

func (a *authority) files(name string) CertificateFiles {
	return CertificateFiles{filepath.Join(a.dir, name+".pem"), filepath.Join(a.dir, name+".key")}
}

func (a *authority) config(server string) *tls.Config {
	roots := x509.NewCertPool()
	roots.AddCert(a.cert)
	return &tls.Config{RootCAs: roots, ServerName: server}
}

// shown returns the serial number of the certificate that a server shows.
func shown(t *testing.T, address string, config *tls.Config) (*big.Int, error) {
	t.Helper()
	c, err := tls.Dial("tcp", address, config)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	// With TLS 1.3 the server's objection to our certificate comes with the first read.
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"); err != nil {
		return nil, err
	}
	if _, err := io.ReadAll(c); err != nil {
		return nil, err
	}
	return c.ConnectionState().PeerCertificates[0].SerialNumber, nil
}

// lines is a log's output.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *lines) count(s string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.b.String(), s)
}

func TestTLSServesByNameAndReloads(t *testing.T) {
	t.Parallel()
	a := newAuthority(t, "root")
	one, two := a.files("one"), a.files("two")
	first, second := a.write(one, "one.example"), a.write(two, "two.example")
	log := &lines{}
	s := run(t, Options{
		Handler: text("yes"), Log: slog.New(slog.NewTextHandler(log, nil)),
		TLS: &TLS{Certificates: []CertificateFiles{one, two}, Every: time.Nanosecond},
	})
	expect := func(what, name string, want *x509.Certificate) {
		t.Helper()
		got, err := shown(t, s.address, a.config(name))
		if err != nil || got.Cmp(want.SerialNumber) != 0 {
			t.Errorf("%s: %v, %v", what, got, err)
		}
	}
	expect("by name", "two.example", second)
	expect("by name", "one.example", first)
	first = a.write(one, "one.example")
	expect("after a renewal", "one.example", first)

	for range 3 {
		a.replace(one.Certificate, []byte("half a certif"))
		expect("with a broken file", "one.example", first)
	}
	if n := log.count("cannot be read again"); n != 1 {
		t.Errorf("said %d times that the file is broken", n)
	}
	first = a.write(one, "one.example")
	expect("after the mend", "one.example", first)
}

func TestTLSClientCertificates(t *testing.T) {
	t.Parallel()
	a, b := newAuthority(t, "root"), newAuthority(t, "other root")
	server, known, stranger := a.files("server"), a.files("known"), b.files("stranger")
	a.write(server, "x")
	a.write(known, "known")
	b.write(stranger, "stranger")
	authorities := filepath.Join(a.dir, "clients.pem")
	a.replace(authorities, a.pem())
	try := func(address string, show *CertificateFiles) error {
		config := a.config("x")
		if show != nil {
			pair, err := tls.LoadX509KeyPair(show.Certificate, show.Key)
			if err != nil {
				t.Fatal(err)
			}
			// Also where the server names other authorities.
			config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
		}
		_, err := shown(t, address, config)
		return err
	}
	for mode, want := range map[ClientCertificates][3]bool{ // none, known, stranger
		NoClientCertificates: {true, true, true}, RequestClientCertificates: {true, true, false}, RequireClientCertificates: {false, true, false},
	} {
		s := run(t, Options{Handler: text("yes"), TLS: &TLS{Certificates: []CertificateFiles{server}, Clients: authorities, ClientCertificates: mode}})
		for i, show := range []*CertificateFiles{nil, &known, &stranger} {
			if err := try(s.address, show); (err == nil) != want[i] {
				t.Errorf("%s, client %d: %v", mode, i, err)
			}
		}
	}
	s := run(t, Options{Handler: text("yes"), TLS: &TLS{Certificates: []CertificateFiles{server}, Clients: authorities, ClientCertificates: RequireClientCertificates, Every: time.Nanosecond}})
	if try(s.address, &known) != nil {
		t.Fatal("a known client was refused")
	}
	a.replace(authorities, b.pem())
	if try(s.address, &stranger) != nil || try(s.address, &known) == nil {
		t.Error("the authorities have not changed with the file")
	}
}

func TestTLSNegotiates(t *testing.T) {
	t.Parallel()
	a := newAuthority(t, "root")
	files := a.files("server")
	a.write(files, "x")
	var remote sync.Map
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.TLS == nil || !r.TLS.HandshakeComplete {
			t.Error("the request does not know of TLS")
		}
		remote.Store(r.RemoteAddr, true)
		_, _ = io.WriteString(w, r.Proto)
	})
	s := run(t, Options{Handler: handler, HTTP2: true, TLS: &TLS{Certificates: []CertificateFiles{files}}})
	for want, set := range map[string]func(*http.Protocols){
		"HTTP/2.0": func(p *http.Protocols) { p.SetHTTP2(true) },
		"HTTP/1.1": func(p *http.Protocols) { p.SetHTTP1(true) },
	} {
		c := client(t, set)
		c.Transport.(*http.Transport).TLSClientConfig = a.config("x")
		if _, body := get(t, c, "https://"+s.address); body != want {
			t.Errorf("%s, want %s", body, want)
		}
	}
	old := a.config("x")
	old.MaxVersion = tls.VersionTLS11
	if _, err := shown(t, s.address, old); err == nil {
		t.Error("TLS 1.1 is spoken")
	}
	plain := dial(t, s.address)
	send(t, plain, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	if b, err := io.ReadAll(plain); err != nil || !strings.HasPrefix(string(b), "HTTP/1.0 400") {
		t.Errorf("plain HTTP: %q, %v", b, err)
	}
	// The guard sits inside.
	c, err := tls.Dial("tcp", s.address, a.config("x"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	send(t, c, "GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n")
	if b, err := io.ReadAll(c); err != nil || !strings.HasPrefix(string(b), "HTTP/1.1 400") {
		t.Errorf("a malformed request: %q, %v", b, err)
	}
}

func TestNewRefusesTLSThatCannotWork(t *testing.T) {
	t.Parallel()
	a := newAuthority(t, "root")
	files := a.files("server")
	a.write(files, "x")
	for name, c := range map[string]*TLS{
		"no certificates":  {},
		"no such file":     {Certificates: []CertificateFiles{{"nowhere", "nowhere"}}},
		"another mode":     {Certificates: []CertificateFiles{files}, ClientCertificates: "maybe"},
		"no authorities":   {Certificates: []CertificateFiles{files}, ClientCertificates: RequireClientCertificates},
		"not an authority": {Certificates: []CertificateFiles{files}, Clients: files.Key, ClientCertificates: RequireClientCertificates},
		"key of the other": {Certificates: []CertificateFiles{{files.Certificate, files.Certificate}}},
	} {
		l := listener(t)
		if _, err := New(Options{Handler: text(""), Listeners: l, TLS: c, Log: slog.New(slog.DiscardHandler)}); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func dialTLS(t testing.TB, address string, config *tls.Config) net.Conn {
	t.Helper()
	c, err := tls.Dial("tcp", address, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return c
}

func (l *lines) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }
