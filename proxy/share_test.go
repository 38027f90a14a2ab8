package proxy

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"testing"

	"strangler/capability"
	"strangler/proxy/edge"
)

// replica is a proxy whose sides answer from memory.
func replica(t *testing.T, docs []capability.Document, states map[string]capability.Effective, adjust ...func(*Options)) *Proxy {
	t.Helper()
	options := Options{ID: "p", Legacy: capability.Upstream{Endpoints: []string{"http://legacy"}}, Log: quietLog(), NewLeg: newCanned}
	for _, f := range adjust {
		f(&options)
	}
	p, err := New(options)
	if err != nil {
		t.Fatal(err)
	}
	if problems := p.Update(docs, states); len(problems) > 0 {
		t.Fatal(problems)
	}
	return p
}

// ask sends one request and returns who answered.
func ask(t *testing.T, p http.Handler, method, path, user string, headers ...string) string {
	t.Helper()
	r := httptest.NewRequest(method, "http://shop"+path, nil)
	r.Header.Set("X-User", user)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	p.ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		t.Fatalf("%s %s of %s: %d %s", method, path, user, w.Code, w.Body)
	}
	return w.Header().Get("X-Served-By")
}

func trafficOnly(name, path string, change func(*capability.Document)) capability.Document {
	d := capability.Document{Name: name, File: name + ".yaml", Routes: []capability.Route{{Path: path}},
		Extracted: capability.Upstream{Endpoints: []string{"http://extracted"}},
		Traffic:   capability.Traffic{Subject: capability.Subject{Kind: capability.SubjectHeader, Name: "X-User"}}}
	if change != nil {
		change(&d)
	}
	return d
}

func weighted(name string, revision uint64, weight capability.Weight) map[string]capability.Effective {
	return map[string]capability.Effective{name: {Capability: name, Revision: revision, Owner: capability.Legacy, Weight: weight, Phase: capability.Steady}}
}

// Through the whole proxy, with any mix of requests: the share of subjects is the
// weight within three standard deviations, whatever each of them asks for and how
// often; two replicas and a restarted one give the same answer; a raised weight
// moves nobody back; 0 % is nobody and 100 % is everybody.
func TestEveryReplicaGivesEverySubjectOneSide(t *testing.T) {
	t.Parallel()
	const n = 1500
	random := rand.New(rand.NewPCG(1, 2))
	docs := []capability.Document{trafficOnly("orders", "/api/orders/**", nil)}
	one, two := replica(t, docs, nil), replica(t, docs, nil)
	moved := map[string]bool{}
	for i, weight := range []capability.Weight{0, 1, 500, 2000, 5000, 9900, capability.Whole} {
		states := weighted("orders", uint64(i+1), weight)
		one.Update(docs, states)
		two.Update(docs, states)
		restarted := replica(t, docs, states)
		count := 0
		for s := range n {
			user := fmt.Sprint("user-", s)
			side := ask(t, one, "GET", "/api/orders/1", user)
			for range random.IntN(4) {
				method := []string{"GET", "POST", "DELETE"}[random.IntN(3)]
				path := fmt.Sprint("/api/orders/", random.IntN(99))
				for _, p := range []*Proxy{one, two, restarted} {
					if got := ask(t, p, method, path, user); got != side {
						t.Fatalf("at %s %s is on %s, and on %s for %s %s", weight, user, side, got, method, path)
					}
				}
			}
			if side == "extracted" {
				count++
				moved[user] = true
			} else if moved[user] {
				t.Fatalf("%s moved back at %s", user, weight)
			}
		}
		p := float64(weight) / float64(capability.Whole)
		if off := math.Abs(float64(count) - n*p); off > 3*math.Sqrt(n*p*(1-p)) {
			t.Errorf("at %s %d of %d subjects moved", weight, count, n)
		}
	}
}

// Capabilities of one salt group move the same people together; others do not.
func TestSaltGroupsMoveTogether(t *testing.T) {
	t.Parallel()
	group := func(d *capability.Document) { d.Traffic.Salt = "shopfront" }
	docs := []capability.Document{trafficOnly("cart", "/cart", group), trafficOnly("search", "/search", group), trafficOnly("billing", "/billing", nil)}
	states := map[string]capability.Effective{}
	for _, d := range docs {
		states[d.Name] = weighted(d.Name, 1, 3000)[d.Name]
	}
	p := replica(t, docs, states)
	apart := 0
	for s := range 1000 {
		user := fmt.Sprint("user-", s)
		cart := ask(t, p, "GET", "/cart", user)
		if search := ask(t, p, "GET", "/search", user); search != cart {
			t.Fatalf("%s is on %s for the cart and on %s for the search", user, cart, search)
		}
		if ask(t, p, "GET", "/billing", user) != cart {
			apart++
		}
	}
	// 2 × 0.3 × 0.7 of independent choices differ.
	if apart < 300 || apart > 540 {
		t.Errorf("%d of 1000 subjects are on another side for a capability of another group", apart)
	}
}

func TestListsComeBeforeTheWeight(t *testing.T) {
	t.Parallel()
	listed := func(d *capability.Document) {
		d.Traffic.Always, d.Traffic.Never = []string{"ann"}, []string{"bob", "eve"}
	}
	docs := []capability.Document{trafficOnly("orders", "/o", listed)}
	p := replica(t, docs, nil)
	for i, weight := range []capability.Weight{0, 5000, capability.Whole} {
		p.Update(docs, weighted("orders", uint64(i+1), weight))
		for user, want := range map[string]string{"ann": "extracted", "bob": "legacy", "eve": "legacy"} {
			for _, method := range []string{"GET", "POST"} {
				if got := ask(t, p, method, "/o", user); got != want {
					t.Errorf("at %s %s of %s went to %s", weight, method, user, got)
				}
			}
		}
	}
}

// With data a listed subject, and a tester, read from the other side only while
// that follows, and write to the owner always.
func TestListsAndOverridesFollowTheData(t *testing.T) {
	t.Parallel()
	doc := trafficOnly("orders", "/o", func(d *capability.Document) {
		d.Traffic.Always, d.Data = []string{"ann"}, &capability.Data{}
	})
	peers, err := edge.ParsePeers([]string{"192.0.2.0/24"})
	if err != nil {
		t.Fatal(err)
	}
	p := replica(t, []capability.Document{doc}, nil, func(o *Options) { o.Peers, o.Override = peers, headerSide })
	revision := uint64(0)
	for _, c := range []struct {
		owner  capability.Side
		shared bool
		read   string
	}{{capability.Legacy, false, "legacy"}, {capability.Legacy, true, "extracted"}, {capability.Extracted, false, "extracted"}} {
		revision++
		p.Update([]capability.Document{doc}, map[string]capability.Effective{"orders": {Capability: "orders", Revision: revision, Epoch: revision,
			Owner: c.owner, Phase: capability.Steady, HasData: true, Shared: c.shared}})
		if got := ask(t, p, "GET", "/o", "ann"); got != c.read {
			t.Errorf("owner %s, shared %v: ann reads from %s", c.owner, c.shared, got)
		}
		if got := ask(t, p, "GET", "/o", "tester", headerSide, "extracted"); got != c.read {
			t.Errorf("owner %s, shared %v: the tester reads from %s", c.owner, c.shared, got)
		}
		if got := ask(t, p, "POST", "/o", "writer", headerSide, string(c.owner.Other())); got != string(c.owner) {
			t.Errorf("owner %s: the tester writes to %s", c.owner, got)
		}
	}
}

// Only who is trusted chooses a side by a header, and nobody sees the header
// upstream as if it were our own.
func TestOverrideIsForTrustedPeersAlone(t *testing.T) {
	t.Parallel()
	docs := []capability.Document{trafficOnly("orders", "/o", nil)}
	trusted, err := edge.ParsePeers([]string{"192.0.2.1"})
	if err != nil {
		t.Fatal(err)
	}
	elsewhere, err := edge.ParsePeers([]string{"198.51.100.0/24"})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name     string
		peers    edge.Peers
		override string
		ask      string
		want     string
	}{
		{"trusted", trusted, headerSide, "extracted", "extracted"},
		{"trusted, no side", trusted, headerSide, "elsewhere", "legacy"},
		{"turned off", trusted, "", "extracted", "legacy"},
		{"others are trusted", elsewhere, headerSide, "extracted", "legacy"},
		{"nobody is", edge.Peers{}, headerSide, "extracted", "legacy"},
	} {
		p := replica(t, docs, weighted("orders", 1, 0), func(o *Options) { o.Peers, o.Override = c.peers, c.override })
		if got := ask(t, p, "GET", "/o", "ann", headerSide, c.ask); got != c.want { // from 192.0.2.1, as httptest has it
			t.Errorf("%s: %s", c.name, got)
		}
	}
}
