package pool

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"strangler/capability"
)

// identity is whom the proxy trusts at an https endpoint, and who it is to it.
// The files are looked at before every handshake, and read again when they have
// changed; while that fails, what was read last goes on.
type identity struct {
	files  capability.UpstreamTLS
	name   string // to verify
	resume tls.ClientSessionCache

	mu          sync.Mutex
	roots       *x509.CertPool   // guarded by mu; nil: the system's
	certificate *tls.Certificate // guarded by mu; nil: none
	rootsAt     stamp            // guarded by mu
	ownAt       [2]stamp         // guarded by mu: certificate, key
}

// stamp is how a changed file is recognised.
type stamp struct {
	modified time.Time
	size     int64
}

func newIdentity(files capability.UpstreamTLS, name string) (*identity, error) {
	i := &identity{files: files, name: name, resume: tls.NewLRUClientSessionCache(0)}
	if err := i.reload(); err != nil {
		return nil, err
	}
	return i, nil
}

// config returns the settings of one handshake.
func (i *identity) config() *tls.Config {
	i.mu.Lock()
	defer i.mu.Unlock()
	_ = i.reload() // what was read last goes on; a certificate that has run out shows in the handshake
	config := &tls.Config{
		MinVersion:         tls.VersionTLS12,
		ServerName:         i.name,
		RootCAs:            i.roots,
		ClientSessionCache: i.resume,
	}
	if i.certificate != nil {
		config.Certificates = []tls.Certificate{*i.certificate}
	}
	return config
}

// reload reads the files that have changed. mu is held, or nobody else is there.
func (i *identity) reload() error {
	return errors.Join(i.reloadRoots(), i.reloadOwn())
}

func (i *identity) reloadRoots() error {
	if i.files.CA == "" {
		return nil
	}
	at, err := stampOf(i.files.CA)
	if err != nil || at == i.rootsAt {
		return err
	}
	text, err := os.ReadFile(i.files.CA)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		return fmt.Errorf("read %s: no PEM certificate in it", i.files.CA)
	}
	// A session made under other roots must not be resumed under these.
	i.roots, i.rootsAt, i.resume = roots, at, tls.NewLRUClientSessionCache(0)
	return nil
}

func (i *identity) reloadOwn() error {
	if i.files.Certificate == "" {
		return nil
	}
	var at [2]stamp
	var err error
	if at[0], err = stampOf(i.files.Certificate); err != nil {
		return err
	}
	if at[1], err = stampOf(i.files.Key); err != nil {
		return err
	}
	if at == i.ownAt {
		return nil
	}
	pair, err := tls.LoadX509KeyPair(i.files.Certificate, i.files.Key)
	if err != nil {
		return fmt.Errorf("read certificate %s: %w", i.files.Certificate, err)
	}
	i.certificate, i.ownAt, i.resume = &pair, at, tls.NewLRUClientSessionCache(0)
	return nil
}

func stampOf(file string) (stamp, error) {
	info, err := os.Stat(file)
	if err != nil {
		return stamp{}, err
	}
	return stamp{modified: info.ModTime(), size: info.Size()}, nil
}
