package testbed

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
)

func call(t *testing.T, method, url, body string) (int, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(text)
}

func TestConsulIsShared(t *testing.T) {
	t.Parallel()
	address := Consul(t)
	if again := Consul(t); again != address {
		t.Errorf("two agents: %s and %s", address, again)
	}
	key := "http://" + address + "/v1/kv/testbed/shared"
	if status, text := call(t, http.MethodPut, key, "value"); status != http.StatusOK {
		t.Fatalf("put: %d %s", status, text)
	}
	if status, text := call(t, http.MethodGet, key+"?raw", ""); status != http.StatusOK || text != "value" {
		t.Errorf("get: %d %q", status, text)
	}
}

func TestConsulServerKeepsItsDataAcrossAnOutage(t *testing.T) {
	t.Parallel()
	agent := ConsulServer(t)
	address := agent.Address()
	key := "http://" + address + "/v1/kv/testbed/outage"
	if status, text := call(t, http.MethodPut, key, "kept"); status != http.StatusOK {
		t.Fatalf("put: %d %s", status, text)
	}
	if err := agent.Stop(); err != nil {
		t.Fatal(err)
	}
	if response, err := http.Get(key); err == nil {
		_ = response.Body.Close()
		t.Error("a stopped agent answers")
	}
	if err := agent.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if agent.Address() != address {
		t.Errorf("address %s after the restart, %s before", agent.Address(), address)
	}
	if status, text := call(t, http.MethodGet, key+"?raw", ""); status != http.StatusOK || text != "kept" {
		t.Errorf("get after the restart: %d %q", status, text)
	}
}

func TestConsulServerLosesItsData(t *testing.T) {
	t.Parallel()
	agent := ConsulServer(t, `datacenter = "configured"`)
	if _, text := call(t, http.MethodGet, "http://"+agent.Address()+"/v1/catalog/datacenters", ""); !strings.Contains(text, "configured") {
		t.Errorf("not configured: %s", text)
	}
	key := "http://" + agent.Address() + "/v1/kv/testbed/lost"
	if status, text := call(t, http.MethodPut, key, "lost"); status != http.StatusOK {
		t.Fatalf("put: %d %s", status, text)
	}
	if err := agent.Lose(); err != nil {
		t.Fatal(err)
	}
	if err := agent.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if status, text := call(t, http.MethodGet, key+"?raw", ""); status != http.StatusNotFound {
		t.Errorf("get after the loss: %d %q", status, text)
	}
}

func TestConsulClusterElectsAnotherLeader(t *testing.T) {
	t.Parallel()
	cluster := ConsulCluster(t)
	first, err := cluster.Leader(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	key := "http://" + first.Address() + "/v1/kv/testbed/elected"
	if status, text := call(t, http.MethodPut, key, "kept"); status != http.StatusOK {
		t.Fatalf("put: %d %s", status, text)
	}
	if err := first.Kill(); err != nil {
		t.Fatal(err)
	}
	second, err := cluster.Leader(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if second == first {
		t.Fatal("a dead server leads")
	}
	// By its default, a new leader answers before it has applied what the old one has committed.
	key = "http://" + second.Address() + "/v1/kv/testbed/elected?raw&consistent"
	if status, text := call(t, http.MethodGet, key, ""); status != http.StatusOK || text != "kept" {
		t.Errorf("get of the new leader: %d %q", status, text)
	}
	if err := first.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	var peers []string
	if _, text := call(t, http.MethodGet, "http://"+first.Address()+"/v1/status/peers", ""); json.Unmarshal([]byte(text), &peers) != nil || len(peers) != 3 {
		t.Errorf("peers after the return: %s", text)
	}
}
