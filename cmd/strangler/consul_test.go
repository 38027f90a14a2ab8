package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/mux"
	"github.com/hashicorp/consul/api"

	"strangler/capability"
	"strangler/internal/config"
	"testbed"
)

// Documents, states, registrations and breakers of a strangler whose store is
// Consul, by the commands that a person types.
func TestStoreInConsul(t *testing.T) {
	t.Parallel()
	agent := testbed.Consul(t)
	prefix := fmt.Sprintf("store-%x", time.Now().UnixNano())
	dir, clients, _ := trafficHouse(t, fmt.Sprintf("store: consul\nconsul: {address: %s, prefix: %s, service: %s}\nlog: {access: false}\n", agent, prefix, prefix))
	h := &house{t: t, dir: dir, name: "orders"}
	if out, status := h.try("document", "push", filepath.Join(dir, "routes", "orders.yaml"), "--dry-run"); status != 0 || !strings.Contains(out, "would be stored") {
		t.Fatal(out)
	}
	h.types("document", "push", filepath.Join(dir, "routes", "orders.yaml"))
	broken := filepath.Join(dir, "routes", "broken.yaml")
	h.write("routes/broken.yaml", "capability: other\nroutes: [{path: /api/orders/**}]\nextracted: {endpoints: [http://127.0.0.1:1]}\n")
	if out, status := h.try("document", "push", broken); status == 0 || !strings.Contains(out, "with equal right") {
		t.Errorf("a document that cannot be served was stored: %s", out)
	}
	if err := os.RemoveAll(filepath.Join(dir, "routes")); err != nil {
		t.Fatal(err)
	}
	down := h.up()
	h.types("weight", "orders", "100%")
	if got := fetch(t, clients); !strings.HasPrefix(got, "extracted") {
		t.Errorf("at 100%% %q answered", got)
	}
	h.types("breaker", "orders", "extracted", "open")
	if got := fetch(t, clients); !strings.HasPrefix(got, "legacy") {
		t.Errorf("with the breaker open %q answered", got)
	}
	if out := h.types("status"); !strings.Contains(out, "extracted  open") {
		t.Error(out)
	}
	h.types("breaker", "orders", "extracted", "enforce")

	registered := consulConfig()
	registered.Address = agent
	client, err := api.NewClient(registered)
	if err != nil {
		t.Fatal(err)
	}
	// passing waits until as many instances pass their checks.
	passing := func(want int) bool {
		q := &api.QueryOptions{WaitTime: 20 * time.Second}
		for deadline := time.Now().Add(q.WaitTime); time.Now().Before(deadline); {
			all, meta, err := client.Health().Service(prefix, "", true, q)
			if err != nil {
				t.Fatal(err)
			}
			if len(all) == want {
				return true
			}
			q.WaitIndex = meta.LastIndex
		}
		return false
	}
	if !passing(1) {
		t.Error("the proxy is no service whose check passes")
	}
	copies := filepath.Join(dir, "copies")
	h.types("document", "pull", copies)
	content, err := os.ReadFile(filepath.Join(copies, "orders.yaml"))
	if err != nil || !strings.Contains(string(content), "weight: 100%") || !strings.Contains(string(content), "extracted: enforce") {
		t.Errorf("pulled %s, %v", content, err)
	}
	if info, err := os.Stat(filepath.Join(copies, "orders.yaml")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("what may hold a password is open to others: %v, %v", info.Mode(), err)
	}
	down()
	if !passing(0) {
		t.Error("the proxy is gone and its service is not")
	}
}

func consulConfig() *api.Config {
	c := api.DefaultConfig()
	c.Transport.DisableKeepAlives = true
	return c
}

func fetch(t *testing.T, clients string) string {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Get("http://" + clients + "/api/orders/1")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close() //nolint:errcheck // read only
	content := make([]byte, 64)
	n, _ := res.Body.Read(content)
	return string(content[:n])
}

// A controller that runs alone knows the instances of a side that is in Consul, or it
// would refuse every switch; and it shows what is doubtful about them.
func TestControllerAloneDiscovers(t *testing.T) {
	t.Parallel()
	agent, service := testbed.Consul(t), fmt.Sprintf("alone-%x", time.Now().UnixNano())
	dir := t.TempDir()
	content := "capability: alone\nroutes: [{path: /alone}]\nextracted: {consul: " + service + "}\n"
	if err := os.WriteFile(filepath.Join(dir, "alone.yaml"), []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	settings := config.Config{Routes: dir, State: t.TempDir(), Consul: &config.Consul{Address: agent}}
	settings.Legacy.Upstream.Endpoints = []string{"http://127.0.0.1:1"}
	log := slog.New(slog.DiscardHandler)
	store, err := newStore(settings, log)
	if err != nil {
		t.Fatal(err)
	}
	discovery, err := newDiscovery(settings, log)
	if err != nil {
		t.Fatal(err)
	}
	p := &parts{settings: settings, log: log, store: store, discovery: discovery, router: mux.NewRouter()}
	ctx, stop := context.WithCancel(t.Context())
	discovered := make(chan error, 1)
	go func() { discovered <- p.discover(ctx) }()
	defer func() {
		stop()
		if err := <-discovered; err != nil {
			t.Error(err)
		}
	}()

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close() //nolint:errcheck // it is only there to be dialled
	c := consulConfig()
	c.Address = agent
	client, err := api.NewClient(c)
	if err != nil {
		t.Fatal(err)
	}
	port := listener.Addr().(*net.TCPAddr).Port
	_, err = client.Catalog().Register(&api.CatalogRegistration{Node: service, Address: "127.0.0.1",
		Service: &api.AgentService{ID: service, Service: service, Address: "127.0.0.1", Port: port}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	b := p.newBrain()
	until := func(what string, is func(docs []capability.Document, problems []capability.Problem) bool) {
		t.Helper()
		var problems []capability.Problem
		for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
			var docs []capability.Document
			if docs, problems, err = b.desired().Load(t.Context()); err != nil {
				t.Fatal(err)
			}
			if is(docs, problems) {
				return
			}
		}
		t.Fatalf("%s: %v", what, problems)
	}
	until("it is not well", func(docs []capability.Document, problems []capability.Problem) bool {
		return len(problems) == 0 && b.healthy(t.Context(), docs[0], capability.Extracted) == nil
	})
	if _, err := client.Catalog().Deregister(&api.CatalogDeregistration{Node: service}, nil); err != nil {
		t.Fatal(err)
	}
	until("nobody says that it is missing", func(_ []capability.Document, problems []capability.Problem) bool {
		return len(problems) == 1 && problems[0].Path == service && strings.Contains(problems[0].Message, "missing in consul")
	})
}

// A token that Consul does not know, or no longer, is what check and status speak
// of: not files that are well.
func TestConsulRefusesTheToken(t *testing.T) {
	t.Parallel()
	const management = "3a3a9c5e-0000-4000-8000-000000000001"
	agent := testbed.ConsulServer(t, fmt.Sprintf(`acl { enabled = true, default_policy = "deny", tokens { initial_management = %q, default = %q, agent = %q } }`, management, management, management))
	config := consulConfig()
	config.Address, config.Token = agent.Address(), management
	boss, err := api.NewClient(config)
	if err != nil {
		t.Fatal(err)
	}
	policy, _, err := boss.ACL().PolicyCreate(&api.ACLPolicy{Name: "strangler", Rules: `key_prefix "strangler" { policy = "write" } session_prefix "" { policy = "write" }
		service_prefix "" { policy = "write" } node_prefix "" { policy = "write" } agent_prefix "" { policy = "read" }`}, nil)
	if err != nil {
		t.Fatal(err)
	}
	token, _, err := boss.ACL().TokenCreate(&api.ACLToken{Policies: []*api.ACLTokenPolicyLink{{ID: policy.ID}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	dir, _, _ := trafficHouse(t, fmt.Sprintf("store: consul\nconsul: {address: %s, token: %s}\nlog: {access: false}\n", agent.Address(), token.SecretID))
	h := &house{t: t, dir: dir, name: "orders"}
	h.types("document", "push", filepath.Join(dir, "routes", "orders.yaml"))
	h.types("check")
	h.up()
	if _, err := boss.ACL().TokenDelete(token.AccessorID, nil); err != nil {
		t.Fatal(err)
	}
	out, status := h.try("check")
	if status != 1 || strings.Count(out, "ACL not found") != 1 || !strings.Contains(out, "config.yaml: consul: ") || !strings.Contains(out, "consul.token") || strings.Contains(out, "`routes`") {
		t.Errorf("check after the token was revoked: %d\n%s", status, out)
	}
	for _, args := range [][]string{{"status", "orders"}, {"status"}} {
		for deadline := time.Now().Add(20 * time.Second); ; {
			out, _ = h.try(args...)
			if strings.Contains(out, "ACL not found") && strings.Contains(out, "consul does not answer") && strings.Contains(out, "consul.token") {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("%v does not say what Consul says:\n%s", args, out)
			}
		}
	}
}
