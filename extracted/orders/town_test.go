package orders

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
)

const token = "service-token"

// town is the rest of the shop: accounts, stock and billing behind one gateway, with their real rules kept
// in memory. Faults are laid on its paths.
type town struct {
	*httptest.Server

	mu       sync.Mutex
	sessions map[string]int64          // by cookie
	stock    map[int64]int64           // by product
	taken    map[int64]map[int64]int64 // by order and product
	returned map[int64]bool            // by order; also tombstones
	charged  map[int64]int64           // by order
	refunded map[int64]bool            // by order; also tombstones
	faults   map[string][]fault        // by path, the first is the next
	always   map[string]fault          // by path, once the list is empty
	calls    []*http.Request           // without bodies
}

// fault stands between the caller and what it asks for.
type fault func(w http.ResponseWriter, r *http.Request, act http.HandlerFunc)

func status(code int) fault {
	return func(w http.ResponseWriter, _ *http.Request, _ http.HandlerFunc) {
		http.Error(w, `{"error":"ailing"}`, code)
	}
}

// cutBefore drops the connection without having acted; cutAfter acts first: the caller cannot tell the two apart.
func cutBefore(http.ResponseWriter, *http.Request, http.HandlerFunc) { panic(http.ErrAbortHandler) }

func cutAfter(_ http.ResponseWriter, r *http.Request, act http.HandlerFunc) {
	act(httptest.NewRecorder(), r)
	panic(http.ErrAbortHandler)
}

func failAfter(w http.ResponseWriter, r *http.Request, act http.HandlerFunc) {
	act(httptest.NewRecorder(), r)
	http.Error(w, `{"error":"ailing"}`, http.StatusInternalServerError)
}

// tooLate acts when the caller has hung up.
func tooLate(w http.ResponseWriter, r *http.Request, act http.HandlerFunc) {
	<-r.Context().Done()
	act(w, r)
}

// hold is a fault that keeps one call until release is called, and then acts, whether or not the caller is
// still there. reached receives when the call has come. The end of the test releases it at the latest.
func hold(t *testing.T) (f fault, reached <-chan struct{}, release func()) {
	come, let := make(chan struct{}, 1), make(chan struct{})
	release = sync.OnceFunc(func() { close(let) })
	t.Cleanup(release)
	return func(w http.ResponseWriter, r *http.Request, act http.HandlerFunc) {
		come <- struct{}{}
		<-let
		act(w, r)
	}, come, release
}

func newTown(t *testing.T) *town {
	n := &town{
		sessions: map[string]int64{"ann": 1, "bob": 2}, stock: map[int64]int64{1: 100, 2: 100, 3: 1},
		taken: map[int64]map[int64]int64{}, returned: map[int64]bool{}, charged: map[int64]int64{}, refunded: map[int64]bool{},
		faults: map[string][]fault{}, always: map[string]fault{},
	}
	n.Server = httptest.NewServer(n)
	t.Cleanup(n.Close)
	return n
}

func (n *town) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body) // to the end, so that the server notices when the caller hangs up
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	n.mu.Lock()
	n.calls = append(n.calls, r)
	f := n.always[r.URL.Path]
	if list := n.faults[r.URL.Path]; len(list) > 0 {
		f, n.faults[r.URL.Path] = list[0], list[1:]
	}
	n.mu.Unlock()
	act := func(w http.ResponseWriter, r *http.Request) { n.act(w, r, body) }
	if f != nil {
		f(w, r, act)
		return
	}
	act(w, r)
}

func (n *town) act(w http.ResponseWriter, r *http.Request, body []byte) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if r.URL.Path == "/api/accounts/me" {
		n.me(w, r)
		return
	}
	if r.Header.Get("Authorization") != "Bearer "+token {
		http.Error(w, `{"error":"who are you"}`, http.StatusUnauthorized)
		return
	}
	var in struct {
		OrderID     int64                                  `json:"order_id"`
		CustomerID  int64                                  `json:"customer_id"`
		AmountCents int64                                  `json:"amount_cents"`
		Lines       []struct{ Product_ID, Quantity int64 } //nolint:revive // decoded by name
	}
	if err := json.Unmarshal(body, &in); err != nil || in.OrderID == 0 {
		http.Error(w, `{"error":"bad body"}`, http.StatusBadRequest)
		return
	}
	switch r.URL.Path {
	case "/api/stock/take":
		quantities := map[int64]int64{}
		for _, l := range in.Lines {
			quantities[l.Product_ID] = l.Quantity
		}
		n.take(w, in.OrderID, quantities)
	case "/api/stock/return":
		for product, quantity := range n.taken[in.OrderID] {
			if !n.returned[in.OrderID] {
				n.stock[product] += quantity
			}
		}
		n.returned[in.OrderID] = true
		io.WriteString(w, `{}`)
	case "/api/billing/charges":
		n.charge(w, in.OrderID, in.AmountCents)
	case "/api/billing/refunds":
		n.refunded[in.OrderID] = true
		io.WriteString(w, `{}`)
	default:
		http.NotFound(w, r)
	}
}

func (n *town) me(w http.ResponseWriter, r *http.Request) {
	cookie, err := r.Cookie("session")
	if err != nil || n.sessions[cookie.Value] == 0 {
		http.Error(w, `{"error":"not signed in"}`, http.StatusUnauthorized)
		return
	}
	json.NewEncoder(w).Encode(map[string]any{"id": n.sessions[cookie.Value], "email": cookie.Value + "@example.com", "name": cookie.Value})
}

func (n *town) take(w http.ResponseWriter, order int64, quantities map[int64]int64) {
	switch {
	case n.returned[order]:
		http.Error(w, `{"error":"stock of this order was returned"}`, http.StatusConflict)
		return
	case n.taken[order] != nil:
		io.WriteString(w, `{}`)
		return
	}
	for product, quantity := range quantities {
		if n.stock[product] < quantity {
			http.Error(w, `{"error":"out of stock"}`, http.StatusConflict)
			return
		}
	}
	for product, quantity := range quantities {
		n.stock[product] -= quantity
	}
	n.taken[order] = quantities
	io.WriteString(w, `{}`)
}

func (n *town) charge(w http.ResponseWriter, order, cents int64) {
	switch {
	case n.refunded[order]:
		http.Error(w, `{"error":"payment was refunded"}`, http.StatusPaymentRequired)
	case cents > 5_000_000:
		http.Error(w, `{"error":"amount too high"}`, http.StatusPaymentRequired)
	case n.charged[order] != 0:
		io.WriteString(w, `{}`)
	default:
		n.charged[order] = cents
		w.WriteHeader(http.StatusCreated)
	}
}

// fail lays faults on a path, one per call.
func (n *town) fail(path string, faults ...fault) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.faults[path] = append(n.faults[path], faults...)
}

// failAlways lays a fault on a path for good; nil lifts it.
func (n *town) failAlways(path string, f fault) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.always[path] = f
}

// called counts the calls to a path.
func (n *town) called(path string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(slices.DeleteFunc(slices.Clone(n.calls), func(r *http.Request) bool { return !strings.HasPrefix(r.URL.Path, path) }))
}

// holds reports what an order has of stock and money at the moment.
func (n *town) holds(order int64) (stock bool, money bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.taken[order] != nil && !n.returned[order], n.charged[order] != 0 && !n.refunded[order]
}
