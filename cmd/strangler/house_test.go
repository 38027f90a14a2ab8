package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"strangler/capability"
	"testbed"
	"testbed/cluster"
	"testbed/process"
)

// house is a whole strangler in a directory of its own: two databases, two
// upstreams, one document, and the command line that a person would type.
type house struct {
	t       *testing.T
	dir     string
	urls    map[capability.Side]string
	pools   map[capability.Side]*pgxpool.Pool
	clients string // address of the proxy
	name    string
	down    func()                                 // ends `strangler up`
	app     func(capability.Side) http.HandlerFunc // of an upstream, where it is to do more than to say which side it is; set before up
}

// newHouse makes the databases and writes config.yaml and the document, whose
// data section is given; nothing runs yet.
func newHouse(t *testing.T, name, data string) *house {
	t.Helper()
	h := &house{t: t, dir: t.TempDir(), name: name, pools: map[capability.Side]*pgxpool.Pool{},
		urls: map[capability.Side]string{capability.Legacy: testbed.Database(t), capability.Extracted: testbed.Other(t)}}
	upstream := map[capability.Side]string{}
	for _, side := range capability.Sides {
		pool, err := pgxpool.New(t.Context(), h.urls[side])
		h.must(err)
		t.Cleanup(pool.Close)
		h.pools[side] = pool
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if h.app != nil {
				h.app(side)(w, r)
				return
			}
			fmt.Fprint(w, side) //nolint:errcheck // the client sees it
		}))
		t.Cleanup(server.Close)
		upstream[side] = server.URL
	}
	ports, err := process.FreePorts(2)
	h.must(err)
	h.clients = fmt.Sprintf("127.0.0.1:%d", ports[0])
	h.write("config.yaml", fmt.Sprintf("listen: %s\nadmin: 127.0.0.1:%d\nlegacy:\n  endpoints: [%s]\n  database: %q\nroutes: routes\n",
		h.clients, ports[1], upstream[capability.Legacy], h.urls[capability.Legacy]))
	h.write("routes/"+name+".yaml", fmt.Sprintf(`# The comment stays.
capability: %s
routes:
  - path: /api/%s/**
extracted:
  endpoints: [%s]
traffic:
  owner: legacy     # who takes writes
  weight: 0%%
data:
  state: stopped
  database: %q
%s`, name, name, upstream[capability.Extracted], h.urls[capability.Extracted], data))
	return h
}

func (h *house) must(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) write(name, content string) {
	h.t.Helper()
	path := filepath.Join(h.dir, name)
	h.must(os.MkdirAll(filepath.Dir(path), 0o755))
	h.must(os.WriteFile(path, []byte(content), 0o644))
}

// psql loads a dump into a side's database, as its header tells to.
func (h *house) psql(side capability.Side, file string) {
	h.t.Helper()
	binaries, err := cluster.Find(h.t.Context())
	h.must(err)
	out, err := exec.CommandContext(h.t.Context(), binaries.Path("psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", file, h.urls[side]).CombinedOutput()
	if err != nil {
		h.t.Fatalf("psql: %v\n%s", err, out)
	}
}

// up runs `strangler up` until the test ends or down is called, and waits until it
// answers.
func (h *house) up() (down func()) {
	h.t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	log, err := os.OpenFile(filepath.Join(h.dir, "up.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	h.must(err)
	ended := make(chan int, 1)
	go func() {
		ended <- run(ctx, &goodbye{}, []string{"up", "-c", filepath.Join(h.dir, "config.yaml")}, log, log)
	}()
	down = sync.OnceFunc(func() {
		stop()
		if status := <-ended; status != 0 {
			h.t.Errorf("strangler up ended with %d", status)
		}
		if h.t.Failed() {
			content, _ := os.ReadFile(log.Name())
			h.t.Logf("strangler up:\n%s", content)
		}
		if err := log.Close(); err != nil {
			h.t.Error(err)
		}
	})
	h.t.Cleanup(down)
	for deadline := time.Now().Add(30 * time.Second); ; {
		if _, status := h.try("status"); status == 0 {
			return down
		}
		select {
		case status := <-ended:
			ended <- status
			h.t.Fatalf("strangler up ended with %d", status)
		default:
		}
		if time.Now().After(deadline) {
			h.t.Fatal("strangler up does not answer")
		}
	}
}

// try types one command line and returns what it printed and its exit status.
func (h *house) try(args ...string) (string, int) {
	h.t.Helper()
	out, err := os.CreateTemp(h.dir, "out")
	h.must(err)
	defer out.Close() //nolint:errcheck // read below
	status := run(h.t.Context(), &goodbye{}, append(args, "-c", filepath.Join(h.dir, "config.yaml")), out, out)
	content, err := os.ReadFile(out.Name())
	h.must(err)
	h.must(os.Remove(out.Name()))
	return string(content), status
}

// types types one command line that must succeed.
func (h *house) types(args ...string) string {
	h.t.Helper()
	out, status := h.try(args...)
	h.t.Logf("$ strangler %s\n%s", strings.Join(args, " "), out)
	if status != 0 {
		h.t.Fatalf("strangler %s: exit status %d", strings.Join(args, " "), status)
	}
	return out
}

// status is what `strangler status --json` says.
func (h *house) status() capability.Status {
	h.t.Helper()
	out, code := h.try("status", h.name, "--json")
	if code != 0 {
		h.t.Fatalf("status: %s", out)
	}
	var s capability.Status
	h.must(json.Unmarshal([]byte(out), &s))
	return s
}
