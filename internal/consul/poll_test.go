package consul

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"strangler/capability"
	"testbed"
)

// gateway stands before an agent, and answers for some folders late or not at all.
type gateway struct {
	prefix string
	url    string
	agent  *httputil.ReverseProxy

	mu      sync.Mutex
	asked   []string        // folders in the order of the questions; guarded by mu
	stalled map[string]bool // folders without an answer; guarded by mu
	trickle time.Duration   // between the first byte of an answer and the rest; guarded by mu
}

func newGateway(t *testing.T, address string) *gateway {
	t.Helper()
	agent, err := url.Parse("http://" + address)
	if err != nil {
		t.Fatal(err)
	}
	g := &gateway{prefix: unique("store"), agent: httputil.NewSingleHostReverseProxy(agent), stalled: map[string]bool{}}
	transport := &http.Transport{}
	g.agent.Transport = transport
	server := httptest.NewServer(g)
	t.Cleanup(transport.CloseIdleConnections)
	t.Cleanup(server.Close)
	g.url = server.URL
	return g
}

func (g *gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	dir := strings.Trim(strings.TrimPrefix(r.URL.Path, "/v1/kv/"+g.prefix), "/")
	g.mu.Lock()
	g.asked = append(g.asked, dir)
	stalled, trickle := g.stalled[dir] || g.stalled["all"], g.trickle
	g.mu.Unlock()
	if stalled {
		<-r.Context().Done()
		return
	}
	if trickle == 0 || dir != routes {
		g.agent.ServeHTTP(w, r)
		return
	}
	whole := httptest.NewRecorder()
	g.agent.ServeHTTP(whole, r)
	for key, values := range whole.Result().Header {
		w.Header()[key] = values
	}
	w.WriteHeader(whole.Code)
	_ = http.NewResponseController(w).Flush() // the client may be gone
	sleep(r.Context(), trickle)
	_, _ = w.Write(whole.Body.Bytes())
}

func (g *gateway) stall(dirs ...string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	clear(g.stalled)
	for _, dir := range dirs {
		g.stalled[dir] = true
	}
}

// questions returns the folders that were asked for since it was called last.
func (g *gateway) questions() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	asked := g.asked
	g.asked = nil
	slices.Sort(asked)
	return asked
}

// behindGateway is a store whose Consul is behind a gateway, and one that is not.
func behindGateway(t *testing.T) (g *gateway, s, near *Store) {
	t.Helper()
	agent := testbed.Consul(t)
	leaks := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, leaks) })
	g = newGateway(t, agent)
	s = openStore(t, g.url, g.prefix, t.TempDir())
	return g, s, openStore(t, agent, g.prefix, t.TempDir())
}

// Nothing answers. Documents and states are asked for at the same time, once, and
// not again by whoever comes next.
func TestPollWaitsOnce(t *testing.T) {
	g, s, near := behindGateway(t)
	near.put(t, "a.yaml", "name a\nweight 1%\n")
	near.publish(t, "a", 1, 1)
	s.expect(t, "a=1%")
	if got := s.revision(t, "a"); got != 1 {
		t.Fatalf("revision %d", got)
	}
	s.bounds.answer, s.bounds.recheck = 200*time.Millisecond, 2*deadline
	g.stall("all")
	g.questions()
	for range 3 {
		s.expect(t, "a=1% !routes")
		if got := s.revision(t, "a"); got != 1 {
			t.Errorf("revision %d", got)
		}
	}
	if got := g.questions(); !slices.Equal(got, []string{effective, routes}) {
		t.Errorf("asked for %v", got)
	}
	// It is asked again when a watch has heard of it.
	g.stall()
	near.publish(t, "a", 2, 1)
	for _, dir := range []string{routes, effective} {
		f := &folder{store: s, dir: dir, signals: make(chan struct{}, 1)}
		if err := f.once(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	s.expect(t, "a=1%")
	if got := s.revision(t, "a"); got != 2 {
		t.Errorf("revision %d", got)
	}
}

// That one has stalled and given up is nobody else's silence.
func TestPollThatIsGivenUp(t *testing.T) {
	g, s, near := behindGateway(t)
	near.put(t, "a.yaml", "name a\n")
	s.bounds.recheck = 2 * deadline
	s.expect(t, "a=0%")
	g.stall("all")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		_, _, err := s.Load(ctx)
		done <- err
	}()
	cancel()
	if err := <-done; err == nil {
		t.Error("loaded, though it was given up")
	}
	g.stall()
	s.expect(t, "a=0%")
}

// One folder stalls. What the other has to say is served within the second, and no
// document is believed to be gone while nobody says whether its move has begun.
func TestPollServesWhatAnswers(t *testing.T) {
	g, s, near := behindGateway(t)
	s.bounds.answer, s.bounds.recheck = deadline, time.Nanosecond
	near.put(t, "a.yaml", "name a\nweight 1%\n")
	near.put(t, "b.yaml", "name b\n")
	near.publish(t, "a", 1, 0)
	s.expect(t, "a=1% b=0%")
	within := func(what string, do func()) {
		t.Helper()
		began := time.Now()
		do()
		if took := time.Since(began); took > deadline/2 {
			t.Errorf("%s: after %v", what, took)
		}
	}
	g.stall(effective)
	near.put(t, "a.yaml", "name a\nweight 2%\n")
	near.remove(t, "b.yaml")
	near.publish(t, "b", 1, 1)
	within("documents", func() { s.expect(t, "a=2% b=0% !effective") })
	g.stall()
	s.expect(t, "a=2% b=0% !b.yaml")

	g.stall(routes)
	near.put(t, "a.yaml", "name a\nweight 3%\n")
	near.publish(t, "a", 2, 0)
	within("states", func() {
		s.expect(t, "a=2% b=0% !routes")
		if got := s.revision(t, "a"); got != 2 {
			t.Errorf("revision %d", got)
		}
	})
	g.stall()
	s.expect(t, "a=3% b=0% !b.yaml")
}

// An answer that is long in coming, because it is large, is no stalled one.
func TestPollWaitsForWhatComes(t *testing.T) {
	g, s, near := behindGateway(t)
	near.put(t, "a.yaml", "name a\nweight 1%\n")
	s.bounds.answer, s.bounds.lag = deadline, 100*time.Millisecond
	g.trickle = 4 * s.bounds.lag
	s.expect(t, "a=1%")
}

// Who never heard of Consul has an error, however often it asks: silence is no empty
// list.
func TestPollOfAStranger(t *testing.T) {
	g, s, _ := behindGateway(t)
	s.bounds.answer, s.bounds.recheck = 50*time.Millisecond, 2*deadline
	g.stall("all")
	for range 3 {
		if docs, _, err := s.Load(t.Context()); err == nil {
			t.Errorf("has %v", docs)
		}
		if states, err := s.Effective(t.Context()); err == nil {
			t.Errorf("has %v", states)
		}
	}
	g.stall(effective)
	s.quiet[routes].Store(nil)
	if docs, _, err := s.Load(t.Context()); err == nil {
		t.Errorf("has %v without states", docs)
	}
	if err := s.Publish(t.Context(), capability.Effective{Capability: "a", Revision: 2}); err == nil {
		t.Error("published")
	}
}
