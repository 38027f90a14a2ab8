package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"strangler/internal/api"
	"strangler/proxy"
)

// upgrader answers every request by changing to lines that it repeats.
func upgrader(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		conn, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()                                                                                    //nolint:errcheck // the other end sees it
		fmt.Fprint(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: lines\r\n\r\n") //nolint:errcheck // the client sees it
		for {
			line, err := buffered.ReadString('\n')
			if err != nil {
				return
			}
			fmt.Fprint(conn, line) //nolint:errcheck // the client sees it
		}
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// A document is written anew every 100 ms while requests go on: none fails, a
// stream of another capability stays open, a breaker stays open, and each change
// is live soon. (The time is told, not judged: machines have slow days.)
func TestReloadsUnderLoad(t *testing.T) {
	t.Parallel()
	dir, clients, admin := trafficHouse(t, "log: {access: false}\n")
	h := &house{t: t, dir: dir, name: "orders"}
	h.write("routes/live.yaml", fmt.Sprintf("capability: live\nroutes: [{path: /live}]\nextracted: {endpoints: [%s]}\ntraffic: {owner: extracted, weight: 100%%}\n", upgrader(t)))
	failing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }))
	t.Cleanup(failing.Close)
	h.write("routes/gone.yaml", "capability: gone\nroutes: [{path: /gone}]\nextracted: {endpoints: ["+failing.URL+"]}\n"+
		"traffic: {owner: extracted, weight: 100%}\nresilience: {fallback: none, breaker: {requests: 2, open_for: 5m}}\n")
	h.up()
	client := api.NewClient(admin, "test")
	defer client.Close()
	awaitExplained(t, client, "/gone", "gone", "extracted")
	awaitExplained(t, client, "/live", "live", "extracted")

	conn, err := net.Dial("tcp", clients)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()                                                                                    //nolint:errcheck // read to its end
	fmt.Fprint(conn, "GET /live HTTP/1.1\r\nHost: shop\r\nConnection: Upgrade\r\nUpgrade: lines\r\n\r\n") //nolint:errcheck // the answer tells
	lines := bufio.NewReader(conn)
	for line := ""; line != "\r\n"; {
		if line, err = lines.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 { // and the breaker opens
		res, err := http.Get("http://" + clients + "/gone")
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
	}

	loading, stop := context.WithCancel(context.Background())
	var load sync.WaitGroup
	var sent, failed tally
	for i := range 4 {
		load.Go(func() { shop(loading, t, clients, i, &sent, &failed) })
	}
	took := rewrite(t, client, filepath.Join(dir, "routes", "orders.yaml"), 40)
	stop()
	load.Wait()
	slices.Sort(took)
	t.Logf("%d requests, %d reloads: live after %s in the median, %s at most", sent.count(), len(took), took[len(took)/2], took[len(took)-1])
	if failed.count() > 0 || sent.count() < 100 {
		t.Errorf("%d of %d requests failed", failed.count(), sent.count())
	}
	fmt.Fprint(conn, "still there\n") //nolint:errcheck // the answer tells
	if line, err := lines.ReadString('\n'); err != nil || line != "still there\n" {
		t.Errorf("the stream of another capability: %q, %v", line, err)
	}
	var breakers []proxy.BreakerInfo
	if err := client.Get(t.Context(), "/proxy/breakers", &breakers); err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(breakers, func(b proxy.BreakerInfo) bool {
		return b.Capability == "gone" && b.Side == "extracted" && b.State == "open"
	}) {
		t.Errorf("the breaker is forgotten: %+v", breakers)
	}
}

// rewrite changes the document every 100 ms and returns how long each change took
// to be served.
func rewrite(t *testing.T, client *api.Client, path string, times int) (took []time.Duration) {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for n := range times {
		next := strings.Replace(string(content), "{path: /api/orders/**}", fmt.Sprintf("{path: /api/orders/**}, {path: /probe/%d}", n), 1)
		began := time.Now()
		if err := os.WriteFile(path+".next", []byte(next), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".next", path); err != nil {
			t.Fatal(err)
		}
		awaitExplained(t, client, fmt.Sprint("/probe/", n), "orders", "")
		took = append(took, time.Since(began))
		<-tick.C
	}
	return took
}

// awaitExplained waits until a path is claimed by the capability, and answered by
// the side if one is named.
func awaitExplained(t *testing.T, client *api.Client, path, name, side string) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		var d proxy.Decision
		err := client.Post(t.Context(), "/proxy/explain", proxy.Request{Method: "GET", URL: path}, &d)
		if err == nil && d.Capability == name && (side == "" || string(d.Side) == side) {
			return
		}
	}
	t.Fatalf("%s is not claimed by %s", path, name)
}
