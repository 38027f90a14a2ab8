package consul

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"testbed"
)

// readiness is a proxy's, to be switched.
type readiness struct {
	url   string
	port  int
	well  atomic.Bool
	asked chan struct{}
}

func newReadiness(t *testing.T) *readiness {
	t.Helper()
	r := &readiness{asked: make(chan struct{}, 1)}
	r.well.Store(true)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		signal(r.asked)
		if !r.well.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	t.Cleanup(server.Close)
	u, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	if r.port, err = strconv.Atoi(u.Port()); err != nil {
		t.Fatal(err)
	}
	r.url = server.URL + "/readyz"
	return r
}

func runRegistrar(t *testing.T, address, name string, ready *readiness) (r *Registrar, client *api.Client, stop func() error) {
	t.Helper()
	client, transport, err := Server{Address: address}.connect()
	if err != nil {
		t.Fatal(err)
	}
	r = NewRegistrar(RegistrarOptions{
		Client: client, Name: name, ID: name + "-1", Address: "127.0.0.1", Port: ready.port, Tags: []string{"edge"},
		Meta: map[string]string{"zone": "a"}, Ready: ready.url, Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	r.look, r.bounds.backoff, r.bounds.longest = 50*time.Millisecond, 10*time.Millisecond, 50*time.Millisecond
	r.registration.Check.Interval = "100ms"
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	ended := false
	stop = func() error {
		if ended {
			return nil
		}
		ended = true
		cancel()
		err := <-done
		transport.CloseIdleConnections()
		return err
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	return r, client, stop
}

// A proxy is found by others when it is ready, and only then; it is registered again
// when the agent has forgotten it, and taken out when it ends.
func TestRegistrar(t *testing.T) {
	t.Parallel()
	name, address := unique("proxy"), testbed.Consul(t)
	d := run(t, Options{Address: address}, func(b *bounds) { b.patience = time.Millisecond })
	d.Watch(name)
	ready := newReadiness(t)
	r, client, stop := runRegistrar(t, address, name, ready)
	endpoint := "http://127.0.0.1:" + strconv.Itoa(ready.port)
	d.await(t, name, endpoint)
	if got := d.Instances(name)[0].Zone; got != "a" {
		t.Errorf("in zone %q", got)
	}
	checks, err := client.Agent().ChecksWithFilter("ServiceName == \"" + name + "\"")
	if err != nil || len(checks) != 1 || checks["ready:"+name+"-1"].Type != "http" {
		t.Errorf("checks %+v, %v", checks, err)
	}
	awaitSignal(t, r.changes)
	if err := client.Agent().ServiceDeregister(name + "-1"); err != nil {
		t.Fatal(err)
	}
	awaitSignal(t, r.changes)
	well := func(want int) {
		t.Helper()
		index := uint64(0)
		for end := time.Now().Add(deadline); ; {
			entries, meta, err := client.Health().Service(name, "edge", true, &api.QueryOptions{WaitIndex: index, WaitTime: time.Second})
			if err != nil || time.Now().After(end) {
				t.Fatalf("%d are well, want %d: %v", len(entries), want, err)
			}
			if len(entries) == want {
				return
			}
			index = meta.LastIndex
		}
	}
	well(1)
	ready.well.Store(false) // draining
	well(0)
	ready.well.Store(true)
	well(1)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	services, err := client.Agent().ServicesWithFilter("Service == \"" + name + "\"")
	if err != nil || len(services) != 0 {
		t.Errorf("left: %v, %v", services, err)
	}
}

// An agent that comes back without its data is told again.
func TestRegistrarAfterTheAgentIsLost(t *testing.T) {
	t.Parallel()
	name, agent := unique("proxy"), testbed.ConsulServer(t)
	ready := newReadiness(t)
	r, client, _ := runRegistrar(t, agent.Address(), name, ready)
	awaitSignal(t, r.changes)
	if err := agent.Lose(); err != nil {
		t.Fatal(err)
	}
	for len(r.changes) > 0 { // of an agent that was slow before
		<-r.changes
	}
	if err := agent.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	awaitSignal(t, r.changes)
	if _, _, err := client.Agent().Service(name+"-1", nil); err != nil {
		t.Error(err)
	}
}
