package consul

import (
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"testbed"
	"testbed/consul"
	"testbed/process"
)

// tlsAgent is an agent of its own whose HTTPS clients must show a certificate.
func tlsAgent(t *testing.T, a *authority) (agent *consul.Agent, secure string) {
	t.Helper()
	a.pairs()
	ports, err := process.FreePorts(1)
	if err != nil {
		t.Fatal(err)
	}
	agent = testbed.ConsulServer(t, fmt.Sprintf(`
		ports { https = %d }
		tls { https { ca_file = %q, cert_file = %q, key_file = %q, verify_incoming = true } }
	`, ports[0], a.path("ca.pem"), a.path("server.pem"), a.path("server.key")))
	return agent, net.JoinHostPort("127.0.0.1", fmt.Sprint(ports[0]))
}

// Certificates and the authority behind them are replaced under a client that runs:
// its next connection is made with the new ones.
func TestTLSFilesAreReadAgain(t *testing.T) {
	t.Parallel()
	a, service := newAuthority(t), unique("rotated")
	agent, secure := tlsAgent(t, a)
	c := newCatalog(t, agent.Address())
	server := Server{Address: secure, TLS: a.tls()}
	client, transport, err := server.connect()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(transport.CloseIdleConnections)
	d := run(t, Options{Client: client}, nil)
	d.Watch(service)
	one := c.add(service, "http://127.0.0.1:7111")
	d.await(t, service, one)

	b := a.replaced()
	if err := agent.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	two := c.add(service, "http://127.0.0.1:7112")
	d.await(t, service, one, two)

	// Half of the files are there: those that were read before are used.
	key, err := os.ReadFile(b.path("client.key"))
	if err != nil {
		t.Fatal(err)
	}
	half := func() {
		t.Helper()
		if err := os.WriteFile(b.path("client.key"), key[:len(key)/2], 0o600); err != nil {
			t.Fatal(err)
		}
	}
	half()
	transport.CloseIdleConnections()
	if _, err := client.Status().Leader(); err != nil {
		t.Errorf("while the files are replaced: %v", err)
	}
	if _, _, err := server.connect(); err == nil {
		t.Error("half a key is one to a new client")
	}
	// And when they do not suffice any more, it is said why they are not the new ones.
	b.replaced()
	half()
	if err := agent.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	transport.CloseIdleConnections()
	if _, err := client.Status().Leader(); err == nil || !strings.Contains(err.Error(), "read the files of consul.tls") {
		t.Errorf("with old certificates: %v", err)
	}
}

// A line that swallows packets, and heals without a word: the connection that was on
// it is not used again.
func TestPartitionStallsOverTLS(t *testing.T) {
	t.Parallel()
	a, service := newAuthority(t), unique("stalled")
	agent, secure := tlsAgent(t, a)
	c := newCatalog(t, agent.Address())
	w := newWire(t, secure)
	d := run(t, Options{Address: w.listener.Addr().String(), TLS: a.tls()}, func(b *bounds) {
		b.wait, b.grace = 200*time.Millisecond, 100*time.Millisecond
	})
	d.Watch(service)
	one := c.add(service, "http://127.0.0.1:7113")
	d.await(t, service, one)
	w.set(true)
	two := c.add(service, "http://127.0.0.1:7114")
	awaitSignal(t, w.tries) // of the first connection
	awaitSignal(t, w.tries)
	w.set(false)
	d.await(t, service, one, two)
}
