package consul

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
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"strangler/internal/documents/documentstest"
	"testbed"
	"testbed/process"
)

// authority makes certificates of a CA of its own, as files.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir()}
	a.cert, a.key = a.issue("ca", &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	return a
}

func (a *authority) issue(name string, template *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	template.Subject, template.SerialNumber = pkix.Name{CommonName: name}, big.NewInt(time.Now().UnixNano())
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	a.write(name+".pem", "CERTIFICATE", der)
	a.write(name+".key", "PRIVATE KEY", private)
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return cert, key
}

func (a *authority) write(name, kind string, der []byte) {
	a.t.Helper()
	if err := os.WriteFile(a.path(name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		a.t.Fatal(err)
	}
}

func (a *authority) path(name string) string { return filepath.Join(a.dir, name) }

// pairs makes certificates of both ends.
func (a *authority) pairs() {
	a.t.Helper()
	a.issue("server", &x509.Certificate{
		DNSNames: []string{"server.dc1.consul"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	})
	a.issue("client", &x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
}

// replaced is another authority, whose files take the place of those of the first.
func (a *authority) replaced() *authority {
	a.t.Helper()
	b := &authority{t: a.t, dir: a.dir}
	b.cert, b.key = b.issue("ca", &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	b.pairs()
	return b
}

func (a *authority) tls() TLS {
	return TLS{CA: a.path("ca.pem"), Certificate: a.path("client.pem"), Key: a.path("client.key"), ServerName: "server.dc1.consul"}
}

// Over TLS with certificates on both ends, and with tokens: one that may read what is
// asked for, and one that may not and is told so by an answer that looks empty.
func TestTLSAndTokens(t *testing.T) {
	t.Parallel()
	const management = "3a3a9c5e-0000-4000-8000-000000000001"
	a := newAuthority(t)
	a.pairs()
	ports, err := process.FreePorts(1)
	if err != nil {
		t.Fatal(err)
	}
	agent := testbed.ConsulServer(t, fmt.Sprintf(`
		ports { https = %d }
		tls { https { ca_file = %q, cert_file = %q, key_file = %q, verify_incoming = true } }
		acl { enabled = true, default_policy = "deny", tokens { initial_management = %q, default = %q, agent = %q } }
	`, ports[0], a.path("ca.pem"), a.path("server.pem"), a.path("server.key"), management, management, management))
	c := newCatalog(t, agent.Address())
	one := c.add("guarded", "http://127.0.0.1:7101")

	secure := Server{
		Address: net.JoinHostPort("127.0.0.1", fmt.Sprint(ports[0])),
		TLS:     a.tls(),
	}
	boss := secure
	boss.Token = management
	client, transport, err := boss.connect()
	if err != nil {
		t.Fatal(err)
	}
	defer transport.CloseIdleConnections()
	token := func(rules string) string {
		t.Helper()
		policy, _, err := client.ACL().PolicyCreate(&api.ACLPolicy{Name: unique("policy"), Rules: rules}, nil)
		if err != nil {
			t.Fatal(err)
		}
		token, _, err := client.ACL().TokenCreate(&api.ACLToken{Policies: []*api.ACLTokenPolicyLink{{ID: policy.ID}}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		return token.SecretID
	}
	reader := token(`service "guarded" { policy = "read" } node_prefix "" { policy = "read" } key_prefix "strangler/routes" { policy = "read" }`)
	stranger := token(`node_prefix "" { policy = "read" }`)

	options := func(token string) Options {
		return Options{Address: secure.Address, TLS: secure.TLS, Token: token, Snapshot: t.TempDir()}
	}
	d := run(t, options(reader), nil)
	d.Watch("guarded")
	d.await(t, "guarded", one)

	// The same snapshot, and a token that does not suffice any more.
	revoked := options(stranger)
	revoked.Snapshot = d.saved
	other, err := NewDiscovery(revoked)
	if err != nil {
		t.Fatal(err)
	}
	d.written()
	other.Watch("guarded")
	v := &view{watching: other.watched["guarded"], good: other.Instances("guarded")}
	if err := other.once(t.Context(), v); err == nil {
		t.Error("a filtered answer is taken")
	}
	if got := other.Endpoints("guarded"); !slices.Equal(got, []string{one}) {
		t.Errorf("with a token that may not read: %v", got)
	}
	other.idle.CloseIdleConnections()

	// The store, of a token that may read the documents and nothing else.
	owner := NewStore(StoreOptions{Client: client, Decode: documentstest.Decode, Apply: documentstest.Apply})
	owner.put(t, "a.yaml", "name a\n")
	owner.publish(t, "a", 1, 1)
	owner.expect(t, "a=0%")
	lesser := secure
	lesser.Token = reader
	small, idle, err := lesser.connect()
	if err != nil {
		t.Fatal(err)
	}
	defer idle.CloseIdleConnections()
	s := NewStore(StoreOptions{Client: small, Decode: documentstest.Decode, Apply: documentstest.Apply})
	if _, err := s.Contents(t.Context()); err != nil {
		t.Errorf("what it may read: %v", err)
	}
	if states, err := s.Effective(t.Context()); err == nil {
		t.Errorf("states it may not read are %v", states)
	}
	if _, _, err := s.Load(t.Context()); err == nil {
		t.Error("documents without states are loaded")
	}

	// Who does not trust, or is not trusted, gets nothing.
	for what, tls := range map[string]TLS{
		"another CA":     {ServerName: "server.dc1.consul", Certificate: a.path("client.pem"), Key: a.path("client.key")},
		"another name":   {CA: a.path("ca.pem"), Certificate: a.path("client.pem"), Key: a.path("client.key")},
		"no certificate": {CA: a.path("ca.pem"), ServerName: "server.dc1.consul"},
	} {
		client, transport, err := Server{Address: secure.Address, Token: management, TLS: tls}.connect()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.Status().Leader(); err == nil {
			t.Errorf("%s: connected", what)
		}
		transport.CloseIdleConnections()
	}
	if _, err := Connect(Server{TLS: TLS{CA: a.path("nowhere.pem")}}); err == nil {
		t.Error("a CA that is not there is none")
	}
}
