package consul

import (
	"context"
	"log/slog"
	"net"
	"net/url"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"go.uber.org/goleak"

	"testbed"
)

func TestMain(m *testing.M) { testbed.Main(m) }

// deadline bounds what tests wait for; nothing waits that long unless it fails.
const deadline = 20 * time.Second

// start runs a discovery until the test ends, and then looks for what it left
// running.
func start(t *testing.T, o Options, change func(*bounds)) *Discovery {
	t.Helper()
	leaks := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, leaks) })
	return run(t, o, change)
}

// run is start for tests that themselves leave something running.
func run(t *testing.T, o Options, change func(*bounds)) *Discovery {
	t.Helper()
	o.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	d, err := NewDiscovery(o)
	if err != nil {
		t.Fatal(err)
	}
	d.bounds.recheck, d.bounds.backoff, d.bounds.longest = 50*time.Millisecond, 10*time.Millisecond, 50*time.Millisecond
	if change != nil {
		change(&d.bounds)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- d.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return d
}

// await blocks until the service has exactly these endpoints.
func (d *Discovery) await(t *testing.T, service string, want ...string) {
	t.Helper()
	slices.Sort(want)
	timeout := time.After(deadline)
	for !slices.Equal(d.Endpoints(service), want) {
		select {
		case <-d.Changes():
		case <-timeout:
			t.Fatalf("%s has %v, want %v", service, d.Endpoints(service), want)
		}
	}
}

// written blocks until what was awaited is on disk, too: it is served first.
func (d *Discovery) written() {
	d.mu.Lock()
	defer d.mu.Unlock()
}

// catalog registers instances with a real agent.
type catalog struct {
	t       *testing.T
	agent   *api.Agent
	catalog *api.Catalog
}

func newCatalog(t *testing.T, address string) catalog {
	t.Helper()
	config := api.DefaultConfig()
	config.Address = address
	config.Transport.DisableKeepAlives = true // nothing stays open that start would take for a leak
	client, err := api.NewClient(config)
	if err != nil {
		t.Fatal(err)
	}
	return catalog{t, client.Agent(), client.Catalog()}
}

func (c catalog) register(r *api.AgentServiceRegistration) {
	c.t.Helper()
	if err := c.agent.ServiceRegister(r); err != nil {
		c.t.Fatal(err)
	}
}

// add registers an instance at the address of a URL and returns the URL.
func (c catalog) add(service, endpoint string) string {
	c.t.Helper()
	host, port := c.split(endpoint)
	c.register(&api.AgentServiceRegistration{ID: id(service, port), Name: service, Address: host, Port: port})
	return endpoint
}

func (c catalog) remove(service, endpoint string) {
	c.t.Helper()
	_, port := c.split(endpoint)
	if err := c.agent.ServiceDeregister(id(service, port)); err != nil {
		c.t.Fatal(err)
	}
}

// addTo registers an instance on a node without an agent, whose services can
// all be lost in one moment.
func (c catalog) addTo(node, service, endpoint string) string {
	c.t.Helper()
	host, port := c.split(endpoint)
	_, err := c.catalog.Register(&api.CatalogRegistration{
		Node: node, Address: host, Service: &api.AgentService{ID: id(service, port), Service: service, Address: host, Port: port},
	}, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	return endpoint
}

func (c catalog) lose(node string) {
	c.t.Helper()
	if _, err := c.catalog.Deregister(&api.CatalogDeregistration{Node: node}, nil); err != nil {
		c.t.Fatal(err)
	}
}

func (c catalog) split(endpoint string) (host string, port int) {
	c.t.Helper()
	u, err := url.Parse(endpoint)
	if err != nil {
		c.t.Fatal(err)
	}
	if port, err = strconv.Atoi(u.Port()); err != nil {
		c.t.Fatal(err)
	}
	return u.Hostname(), port
}

func id(service string, port int) string { return service + "-" + strconv.Itoa(port) }

// unique makes a name of a service that no other test, and no other run of this
// one, has used with the shared agent.
func unique(name string) string { return name + "-" + strconv.FormatInt(time.Now().UnixNano(), 36) }

// instance is something that accepts connections.
func instance(t *testing.T) (endpoint string, listener net.Listener) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() }) // some tests close it before
	return "http://" + listener.Addr().String(), listener
}

// dead is an address that refuses connections.
func dead(t *testing.T) string {
	t.Helper()
	endpoint, listener := instance(t)
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	return endpoint
}
