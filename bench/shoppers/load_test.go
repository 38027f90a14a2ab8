package shoppers

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

const perLogin = 4 // requests

func enter(t *testing.T, s *shop) *Load {
	t.Helper()
	l, err := Enter(t.Context(), Options{
		URL: s.URL, Run: "t", Seed: 1, Shoppers: 20, Customers: 40, Products: 9, Writes: 2000, Reads: 1000})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// visit lets the load run until the shop has seen so many requests more.
func visit(t *testing.T, s *shop, l *Load, requests int64) {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), 30*time.Second)
	defer stop()
	enough := s.requests.Load() + requests
	seen := func() {
		if s.requests.Load() >= enough {
			stop()
		}
	}
	s.seen.Store(&seen)
	l.Run(ctx)
	if got := s.requests.Load(); got < enough {
		t.Fatalf("the load stalled after %d requests", got)
	}
	// Whatever went wrong, nothing is ever sent twice.
	if sent, got := l.Record().Counts().Requests, s.requests.Load()-perLogin*20; sent != got {
		t.Errorf("recorded %d requests, the shop had %d", sent, got)
	}
}

func TestShopInOrder(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	l := enter(t, s)
	visit(t, s, l, 3000)
	c := l.Record().Counts()
	if c.Failed != 0 || c.Stale != 0 || len(l.Record().Faults()) != 0 || len(l.Record().Unknown()) != 0 {
		t.Errorf("a good shop is found wanting: %+v %q", c, l.Record().Faults())
	}
	if c.ServedBy["memory"] != c.Requests {
		t.Errorf("%d requests served by %v", c.Requests, c.ServedBy)
	}
	var refs []string
	made := map[int64]int64{}
	for _, w := range l.Record().Acknowledged() {
		refs = append(refs, w.Ref)
		made[w.Customer]++
	}
	slices.Sort(refs)
	slices.Sort(s.log)
	if !slices.Equal(refs, s.log) || int64(len(refs)) != c.Acknowledged {
		t.Errorf("%d writes acknowledged, %d in the shop's log", len(refs), len(s.log))
	}
	before := map[int64]int64{}
	for _, customer := range l.Customers() {
		before[customer.ID] = customer.Before
	}
	kinds := map[string]int{}
	for _, a := range s.accounts {
		if before[a.id] != 7 || a.writes != 7+made[a.id] {
			t.Errorf("customer %d has counter %d: %d before and %d writes", a.id, a.writes, before[a.id], made[a.id])
		}
		for _, o := range a.orders {
			kinds[o.Status]++
			if o.Revision > 0 {
				kinds["changed"]++
			}
		}
	}
	if kinds["confirmed"] == 0 || kinds["cancelled"] == 0 || kinds["changed"] == 0 || c.Refused == 0 {
		t.Errorf("not every kind of write was made: %v, %d refused", kinds, c.Refused)
	}
}

// amount is what a counter must be.
type amount string

const (
	none     amount = "none"
	one      amount = "one"
	some     amount = "some"
	whatever amount = "any"
)

func (a amount) is(n int64) bool {
	return a == whatever || a == none && n == 0 || a == one && n == 1 || a == some && n > 0
}

func status(code int) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

func request(method, prefix string) func(*http.Request) bool {
	return func(r *http.Request) bool { return r.Method == method && strings.HasPrefix(r.URL.Path, prefix) }
}

// Each fault must be seen, as what it is.
func TestFaultsAreSeen(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name                   string
		fault                  fault
		failed, stale, unknown amount
		saying                 string
	}{
		{"write answered with 503", fault{request("PUT", "/api/"), status(503), false}, one, none, one, "503"},
		{"read answered with 502", fault{request("GET", "/cart"), status(502), false}, one, none, none, "502"},
		{"page not found", fault{request("GET", "/products/"), status(404), false}, one, none, none, "404"},
		{"write answered with what is no success", fault{request("PUT", "/api/"), status(204), false}, one, none, one, "204"},
		{"refusal without a reason", fault{request("PUT", "/api/"), status(409), false}, one, none, one, "409"},
		{"session forgotten", fault{request("POST", "/cart/items"), func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "/login?next=/")
			w.WriteHeader(http.StatusSeeOther)
		}, false}, one, none, one, "/login"},
		{"connection cut in a write", fault{request("PUT", "/api/"), func(http.ResponseWriter, *http.Request) {
			panic(http.ErrAbortHandler)
		}, false}, one, none, one, "EOF"},
		{"connection cut in a read", fault{request("GET", "/cart"), func(http.ResponseWriter, *http.Request) {
			panic(http.ErrAbortHandler)
		}, false}, one, none, none, "EOF"},
		{"acknowledged and forgotten", fault{request("PUT", "/api/orders/cart/"), status(200), false}, whatever, some, whatever, "activity"},
		{"another order changed", fault{request("PUT", "/api/orders/"), func(w http.ResponseWriter, r *http.Request) {
			reply(w, http.StatusOK, order{ID: 1 << 40, Status: "confirmed"})
		}, true}, some, whatever, some, "instead of"},
		{"activity from before", fault{request("GET", "/api/orders/activity"), func(w http.ResponseWriter, _ *http.Request) {
			reply(w, http.StatusOK, activity{Writes: 6, LastRef: "old"})
		}, false}, none, one, none, "activity"},
		{"counter right, last write not", fault{request("GET", "/api/orders/activity"), func(w http.ResponseWriter, _ *http.Request) {
			reply(w, http.StatusOK, activity{Writes: 1 << 40, LastRef: "old"})
		}, false}, none, one, none, "activity"},
		{"order not there yet", fault{func(r *http.Request) bool {
			return request("GET", "/api/orders/")(r) && strings.Trim(r.URL.Path[len("/api/orders/"):], "0123456789") == ""
		}, status(404), false}, none, one, none, "404"},
		{"cart from before", fault{request("GET", "/api/orders/cart"), func(w http.ResponseWriter, _ *http.Request) {
			reply(w, http.StatusOK, map[string]any{"lines": []map[string]int64{{"product_id": 99, "quantity": 99}}})
		}, false}, none, one, none, "cart"},
		{"newest order not in the list", fault{func(r *http.Request) bool { return r.URL.Path == "/api/orders" },
			func(w http.ResponseWriter, _ *http.Request) {
				reply(w, http.StatusOK, map[string]any{"orders": []order{}})
			},
			true}, none, some, none, "without"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := openShop(t)
			l := enter(t, s)
			s.fault.Store(&test.fault)
			visit(t, s, l, 2000)
			c, unknown := l.Record().Counts(), int64(len(l.Record().Unknown()))
			if !test.failed.is(c.Failed) || !test.stale.is(c.Stale) || !test.unknown.is(unknown) {
				t.Errorf("want %s failed, %s stale, %s unknown; have %d, %d, %d", test.failed, test.stale, test.unknown, c.Failed, c.Stale, unknown)
			}
			if text := strings.Join(l.Record().Faults(), "\n"); !strings.Contains(text, test.saying) {
				t.Errorf("faults do not say %q:\n%s", test.saying, text)
			}
		})
	}
}

// The schedule does not wait for answers: while writes are held, shoppers go on arriving, and what they feel is
// measured from when they came.
func TestOpenLoopThroughAStall(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	l := enter(t, s)
	release := make(chan struct{})
	held := make(chan struct{}, 1000)
	s.fault.Store(&fault{request("PUT", "/api/"), func(w http.ResponseWriter, r *http.Request) {
		held <- struct{}{}
		<-release
		w.WriteHeader(http.StatusServiceUnavailable)
	}, true})
	began := time.Now()
	go func() {
		for range 10 {
			<-held // ten shoppers wait at the same time, though none has an answer
		}
		s.fault.Store(nil)
		close(release)
	}()
	visit(t, s, l, 1000)
	released := time.Now()
	if failed := l.Record().Counts().Failed; failed < 10 {
		t.Errorf("%d of at least 10 held writes came back", failed)
	}
	w := l.Record().Window(began, released)
	if w.Slowest <= 0 || w.Gap <= 0 || w.PerS <= 0 {
		t.Errorf("window is %+v", w)
	}
}

func TestEnterNeedsAShop(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	s.fault.Store(&fault{request("POST", "/api/accounts/login"), status(401), false})
	_, err := Enter(t.Context(), Options{URL: s.URL, Shoppers: 20, Customers: 40, Products: 9})
	if err == nil || !strings.Contains(err.Error(), "login answered 401") {
		t.Errorf("entered with %v", err)
	}
	if _, err := Enter(t.Context(), Options{URL: s.URL, Shoppers: 41, Customers: 40, Products: 9}); err == nil {
		t.Error("more shoppers than customers")
	}
}
