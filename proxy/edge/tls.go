package edge

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// CertificateFiles name one certificate chain and its key, both PEM.
type CertificateFiles struct{ Certificate, Key string }

// ClientCertificates says what clients have to show.
type ClientCertificates string

// What is asked of clients; the zero value is None.
const (
	NoClientCertificates      ClientCertificates = "none"
	RequestClientCertificates ClientCertificates = "request" // one that is shown must be good
	RequireClientCertificates ClientCertificates = "require"
)

// TLS is how a server encrypts: TLS 1.2 and above, with the certificate that fits
// the name the client asks for, or the first one. The files are looked at again
// while clients arrive, and read when they have changed. Files that cannot be
// used leave everything as it was, which is logged once.
type TLS struct {
	Certificates       []CertificateFiles // at least one
	Clients            string             // PEM file of the authorities of client certificates
	ClientCertificates ClientCertificates
	Every              time.Duration // at most how often the files are looked at; 0: 2 s

	http2   bool
	log     *slog.Logger
	current atomic.Pointer[tls.Config]
	looked  atomic.Int64 // when, in Unix nanoseconds

	mu      sync.Mutex    // held while looking and reading
	seen    []os.FileInfo // guarded by mu; as of the last reading
	problem string        // guarded by mu; the last that was logged
}

// load reads the files for the first time.
func (t *TLS) load(http2 bool, log *slog.Logger) error {
	t.http2, t.log = http2, log
	if t.Every <= 0 {
		t.Every = 2 * time.Second
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	seen, err := t.stat()
	if err != nil {
		return err
	}
	config, err := t.read()
	if err != nil {
		return err
	}
	t.seen = seen
	t.looked.Store(time.Now().UnixNano())
	t.current.Store(config)
	return nil
}

// config returns what holds for the next handshake. One of several callers looks
// at the files, the others do not wait for it.
func (t *TLS) config() *tls.Config {
	now := time.Now()
	if now.Sub(time.Unix(0, t.looked.Load())) >= t.Every && t.mu.TryLock() {
		t.looked.Store(now.UnixNano())
		t.reload()
		t.mu.Unlock()
	}
	return t.current.Load()
}

// reload needs mu. A reading that failed is tried again each time, because the
// files may have been caught half written.
func (t *TLS) reload() {
	seen, err := t.stat()
	if err == nil && t.problem == "" && unchanged(t.seen, seen) {
		return
	}
	var config *tls.Config
	if err == nil {
		config, err = t.read()
	}
	if err != nil {
		if problem := err.Error(); problem != t.problem {
			t.problem = problem
			t.log.Error("certificates cannot be read again; the old ones stay", slog.Any("error", err))
		}
		return
	}
	t.seen, t.problem = seen, ""
	t.current.Store(config)
	t.log.Info("read certificates again", slog.Int("count", len(config.Certificates)))
}

func (t *TLS) stat() ([]os.FileInfo, error) {
	var names []string
	for _, c := range t.Certificates {
		names = append(names, c.Certificate, c.Key)
	}
	if t.Clients != "" {
		names = append(names, t.Clients)
	}
	infos := make([]os.FileInfo, 0, len(names))
	for _, name := range names {
		info, err := os.Stat(name)
		if err != nil {
			return nil, fmt.Errorf("read certificates: %w", err)
		}
		infos = append(infos, info)
	}
	return infos, nil
}

// unchanged compares what a rename and what a write changes.
func unchanged(a, b []os.FileInfo) bool {
	for i := range a {
		if !os.SameFile(a[i], b[i]) || a[i].Size() != b[i].Size() || !a[i].ModTime().Equal(b[i].ModTime()) {
			return false
		}
	}
	return true
}

// read makes a whole configuration, with session keys of its own: a session of
// before is not resumed under other authorities.
func (t *TLS) read() (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}
	if t.http2 {
		config.NextProtos = []string{"h2", "http/1.1"}
	}
	if len(t.Certificates) == 0 {
		return nil, errors.New("read certificates: there are none")
	}
	for _, files := range t.Certificates {
		c, err := tls.LoadX509KeyPair(files.Certificate, files.Key)
		if err != nil {
			return nil, fmt.Errorf("read certificate %s: %w", files.Certificate, err)
		}
		config.Certificates = append(config.Certificates, c)
	}
	switch t.ClientCertificates {
	case "", NoClientCertificates:
		return config, nil
	case RequestClientCertificates:
		config.ClientAuth = tls.VerifyClientCertIfGiven
	case RequireClientCertificates:
		config.ClientAuth = tls.RequireAndVerifyClientCert
	default:
		return nil, fmt.Errorf("client certificates %q: none, request or require", t.ClientCertificates)
	}
	pem, err := os.ReadFile(t.Clients)
	if err != nil {
		return nil, fmt.Errorf("read authorities of clients: %w", err)
	}
	config.ClientCAs = x509.NewCertPool()
	if !config.ClientCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("read authorities of clients: no certificate in %s", t.Clients)
	}
	return config, nil
}
