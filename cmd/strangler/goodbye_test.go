package main

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"testbed"
	"testbed/process"
)

// twiceSignalled starts a proxy that registers itself with a Consul agent, has a
// request in flight, and is told twice to end. It returns how the process ended
// after the second signal, and how soon.
func twiceSignalled(t *testing.T, consul, service string, registered func() bool) (state *os.ProcessState, took time.Duration) {
	t.Helper()
	path := program(t)
	inside, release := make(chan bool), make(chan bool)
	legacy := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		inside <- true
		<-release
	}))
	t.Cleanup(func() { close(release); legacy.Close() })
	ports, err := process.FreePorts(2)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	clients, admin := fmt.Sprintf("127.0.0.1:%d", ports[0]), fmt.Sprintf("127.0.0.1:%d", ports[1])
	if err := os.MkdirAll(filepath.Join(dir, "routes"), 0o755); err != nil {
		t.Fatal(err)
	}
	config := fmt.Sprintf("listen: %s\nadmin: %s\nlegacy: {endpoints: [%s]}\nconsul: {address: %s, service: %s}\nedge: {drain: {grace: 1m}}\n",
		clients, admin, legacy.URL, consul, service)
	if err := os.WriteFile(filepath.Join(dir, "config.yaml"), []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(dir, "proxy.log"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			content, _ := os.ReadFile(log.Name())
			t.Logf("%s", content)
		}
		_ = log.Close()
	})
	proxy := exec.CommandContext(t.Context(), path, "proxy", "-c", filepath.Join(dir, "config.yaml"))
	proxy.Stdout, proxy.Stderr = log, log
	if err := proxy.Start(); err != nil {
		t.Fatal(err)
	}
	soon(t, "the proxy serves", func() bool {
		c, err := net.Dial("tcp", clients)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
	soon(t, "the proxy is registered", registered)
	go func() {
		if res, err := http.Get("http://" + clients + "/"); err == nil {
			_ = res.Body.Close()
		}
	}()
	<-inside
	signal := func() {
		if err := proxy.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
	}
	signal()
	soon(t, "the proxy drains", func() bool {
		c, err := net.Dial("tcp", clients)
		if err == nil {
			_ = c.Close()
		}
		return err != nil
	})
	begun := time.Now()
	signal()
	_ = proxy.Wait() // it ends by the signal
	return proxy.ProcessState, time.Since(begun)
}

func soon(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not in time", what)
		}
	}
}

// A process that is ended at once still takes its service out of Consul.
func TestASecondSignalTakesTheServiceOut(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the program")
	}
	t.Parallel()
	agent, service := testbed.Consul(t), fmt.Sprintf("twice-%x", time.Now().UnixNano())
	config := consulConfig()
	config.Address = agent
	client, err := api.NewClient(config)
	if err != nil {
		t.Fatal(err)
	}
	registered := func() bool {
		all, _, err := client.Catalog().Service(service, "", nil)
		if err != nil {
			t.Fatal(err)
		}
		return len(all) > 0
	}
	state, _ := twiceSignalled(t, agent, service, registered)
	if status, ok := state.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGTERM {
		t.Errorf("it ended with %s", state)
	}
	if registered() {
		t.Error("the service is still registered")
	}
}

// Consul is not waited for when it does not answer.
func TestASecondSignalEndsWithoutConsul(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the program")
	}
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = silent.Close() })
	state, took := twiceSignalled(t, silent.Addr().String(), "nobody", func() bool { return true })
	if status, ok := state.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGTERM || took > 4*farewell {
		t.Errorf("it ended with %s after %s", state, took)
	}
}
