package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"strangler/capability"
	"strangler/internal/api"
	"testbed/process"
)

// program builds the program, for a test that needs it as a process of its own.
func program(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "strangler")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", path, ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return path
}

// trafficHouse writes a configuration without databases: one capability, two
// servers.
func trafficHouse(t *testing.T, more string) (dir, clients, admin string) {
	t.Helper()
	addresses := map[capability.Side]string{}
	for _, side := range capability.Sides {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(w, io.MultiReader(strings.NewReader(string(side)+" "), r.Body))
		}))
		t.Cleanup(server.Close)
		addresses[side] = server.URL
	}
	ports, err := process.FreePorts(2)
	if err != nil {
		t.Fatal(err)
	}
	clients, admin = fmt.Sprintf("127.0.0.1:%d", ports[0]), fmt.Sprintf("127.0.0.1:%d", ports[1])
	dir = t.TempDir()
	for name, content := range map[string]string{
		"config.yaml": fmt.Sprintf("listen: %s\nadmin: %s\nlegacy: {endpoints: [%s]}\n%s", clients, admin, addresses[capability.Legacy], more),
		"routes/orders.yaml": fmt.Sprintf("capability: orders\nroutes: [{path: /api/orders/**}]\nextracted: {endpoints: [%s]}\ntraffic: {owner: legacy, weight: 50%%}\n",
			addresses[capability.Extracted]),
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir, clients, admin
}

// serving asks which proxy answers, until one of them does that is not in seen.
func serving(t *testing.T, admin string, seen ...string) string {
	t.Helper()
	client := api.NewClient(admin, "test")
	defer client.Close()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		s, err := client.Serving(t.Context(), "orders", 0, false, 0)
		if err == nil && !slices.Contains(seen, s.Proxy) {
			return s.Proxy
		}
	}
	t.Fatalf("no proxy but %v answers", seen)
	return ""
}

// Under load, two processes in a row take the place of the one before: no request
// fails, and each of the old ones ends by itself.
func TestBinaryIsReplacedWithoutAFailedRequest(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the program")
	}
	t.Parallel()
	path := program(t)
	dir, clients, admin := trafficHouse(t, "log: {access: false}\n")
	// The processes that follow inherit the pipe, so that it ends with the last of
	// them.
	said, log, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	first := exec.CommandContext(ctx, path, "up", "-c", filepath.Join(dir, "config.yaml"))
	first.Stdout, first.Stderr = log, log
	if err := first.Start(); err != nil {
		t.Fatal(err)
	}
	_ = log.Close()
	all := make(chan string, 1)
	go func() {
		content, _ := io.ReadAll(said)
		_ = said.Close()
		all <- string(content)
	}()
	one := serving(t, admin)

	var sent, failed tally
	loading, stop := context.WithCancel(ctx)
	var load sync.WaitGroup
	for i := range 6 {
		load.Go(func() { shop(loading, t, clients, i, &sent, &failed) })
	}
	sent.reaches(t, 500)
	if err := first.Process.Signal(syscall.SIGUSR2); err != nil {
		t.Fatal(err)
	}
	two := serving(t, admin, one)
	second := pid(t, two)
	t.Cleanup(func() { _ = second.Kill() }) // has ended, unless the test failed
	if err := first.Wait(); err != nil {
		t.Errorf("the first process: %v", err)
	}
	sent.reaches(t, sent.count()+500)
	if err := second.Signal(syscall.SIGUSR2); err != nil {
		t.Fatal(err)
	}
	three := serving(t, admin, one, two)
	third := pid(t, three)
	t.Cleanup(func() { _ = third.Kill() })
	sent.reaches(t, sent.count()+500)
	stop()
	load.Wait()
	if err := third.Signal(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	if failed.count() > 0 {
		t.Errorf("%d of %d requests failed", failed.count(), sent.count())
	}
	select {
	case content := <-all:
		if t.Failed() {
			t.Logf("%s", content)
		}
	case <-time.After(30 * time.Second):
		t.Error("the last process does not end")
	}
}

// pid finds the process of a proxy by its name, which ends in it.
func pid(t *testing.T, proxy string) *os.Process {
	t.Helper()
	var n int
	if _, err := fmt.Sscanf(proxy[strings.LastIndexByte(proxy, '-'):], "-%d", &n); err != nil {
		t.Fatal(err)
	}
	p, err := os.FindProcess(n)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// shop sends reads and writes until ctx ends, on connections that are kept and on
// new ones.
func shop(ctx context.Context, t *testing.T, clients string, i int, sent, failed *tally) {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: i%3 == 0}, Timeout: 20 * time.Second}
	defer client.CloseIdleConnections()
	for n := 0; ctx.Err() == nil; n++ {
		method, body := http.MethodGet, ""
		if n%2 == 1 {
			method, body = http.MethodPost, fmt.Sprint("order ", i, n)
		}
		r, err := http.NewRequest(method, "http://"+clients+"/api/orders/1", strings.NewReader(body))
		if err != nil {
			t.Error(err)
			return
		}
		res, err := client.Do(r)
		if err == nil {
			content, readErr := io.ReadAll(res.Body)
			_ = res.Body.Close()
			if err = readErr; err == nil && (res.StatusCode != http.StatusOK || !bytes.HasSuffix(content, []byte(body))) {
				err = fmt.Errorf("%d %s", res.StatusCode, content)
			}
		}
		sent.add()
		if err != nil {
			failed.add()
			t.Errorf("%s of client %d: %v", method, i, err)
		}
	}
}
