package pool

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"strangler/capability"
)

// guarded starts a server that wants a certificate of an authority, and answers
// with the name in it and the name it was asked for.
func guarded(t *testing.T, own *authority, clients *authority, name string) *url.URL {
	t.Helper()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, r.TLS.PeerCertificates[0].Subject.CommonName+" "+r.TLS.ServerName)
	}))
	pool := x509.NewCertPool()
	pool.AddCert(clients.certificate)
	server.TLS = &tls.Config{
		Certificates: []tls.Certificate{own.issue(t, name)}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool,
	}
	server.EnableHTTP2 = true
	server.Config.ErrorLog = quiet()
	server.StartTLS()
	t.Cleanup(server.Close)
	return parse(t, server.URL)
}

func TestTheClientsCertificateIsReloaded(t *testing.T) {
	a, strangers := newAuthority(t, "a"), newAuthority(t, "strangers")
	to := guarded(t, a, a, "orders.internal")
	dir := t.TempDir()
	files := capability.UpstreamTLS{
		CA: filepath.Join(dir, "ca.pem"), Certificate: filepath.Join(dir, "c.pem"), Key: filepath.Join(dir, "k.pem"),
		ServerName: "orders.internal",
	}
	put(t, files.CA, "CERTIFICATE", a.certificate.Raw)
	putPair(t, a.issue(t, "first"), files.Certificate, files.Key)
	leg := legTo(t, to, capability.Upstream{TLS: files})
	expect := func(want string) {
		t.Helper()
		leg.CloseIdleConnections()
		_, text, err := exchange(t, leg, http.MethodGet, to, nil)
		if err != nil || text != want {
			t.Fatalf("%q, %v; want %q", text, err, want)
		}
	}
	expect("first orders.internal")
	putPair(t, a.issue(t, "second"), files.Certificate, files.Key)
	expect("second orders.internal")

	// Half written: what was read last goes on.
	if err := os.WriteFile(files.Key, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	expect("second orders.internal")
	if err := os.Remove(files.Certificate); err != nil {
		t.Fatal(err)
	}
	expect("second orders.internal")
	putPair(t, a.issue(t, "third"), files.Certificate, files.Key)
	expect("third orders.internal")

	// Another authority: the server is a stranger now, also to a resumed session.
	put(t, files.CA, "CERTIFICATE", strangers.certificate.Raw)
	leg.CloseIdleConnections()
	_, _, err := exchange(t, leg, http.MethodGet, to, nil)
	var unknown x509.UnknownAuthorityError
	if !errors.Is(err, ErrUnreachable) || !errors.As(err, &unknown) {
		t.Errorf("error %v", err)
	}
}

func TestTheServersNameIsVerified(t *testing.T) {
	a := newAuthority(t, "a")
	to := guarded(t, a, a, "orders.internal")
	dir := t.TempDir()
	files := capability.UpstreamTLS{CA: writePEM(t, "CERTIFICATE", a.certificate.Raw), Certificate: filepath.Join(dir, "c.pem"), Key: filepath.Join(dir, "k.pem")}
	putPair(t, a.issue(t, "me"), files.Certificate, files.Key)
	for name, want := range map[string]bool{"": true, "orders.internal": true, "other.internal": false} {
		files.ServerName = name
		_, _, err := exchange(t, legTo(t, to, capability.Upstream{TLS: files}), http.MethodGet, to, nil)
		if (err == nil) != want || err != nil && !errors.Is(err, ErrUnreachable) {
			t.Errorf("name %q: %v", name, err)
		}
	}
	// Without a certificate the server refuses, in TLS 1.3 only after the handshake
	// is over for the client. However it shows, it is an error.
	files.Certificate, files.Key = "", ""
	files.ServerName = ""
	if _, _, err := exchange(t, legTo(t, to, capability.Upstream{TLS: files}), http.MethodGet, to, nil); err == nil {
		t.Error("a client without a certificate was let in")
	}
}

func TestFilesThatCannotBeRead(t *testing.T) {
	a := newAuthority(t, "a")
	dir := t.TempDir()
	empty, gone := filepath.Join(dir, "empty.pem"), filepath.Join(dir, "gone.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	certificate := writePEM(t, "CERTIFICATE", a.certificate.Raw)
	for _, files := range []capability.UpstreamTLS{
		{CA: gone}, {CA: empty}, {Certificate: gone, Key: gone}, {Certificate: certificate, Key: gone}, {Certificate: certificate, Key: empty},
	} {
		_, err := Standard(capability.Upstream{TLS: files}, parse(t, "https://127.0.0.1:1"))
		if err == nil || !strings.Contains(err.Error(), dir) && !strings.Contains(err.Error(), certificate) {
			t.Errorf("%+v: %v", files, err)
		}
	}
}
