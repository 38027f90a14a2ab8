package shoppers

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// shop is a small real shop in memory that answers what shoppers ask, and does wrong what a test tells it to.
type shop struct {
	*httptest.Server
	requests atomic.Int64
	faults   atomic.Int64 // how often the fault happened
	fault    atomic.Pointer[fault]
	seen     atomic.Pointer[func()] // called after every request

	mu       sync.Mutex // guards what follows
	accounts map[string]*account
	log      []string // refs
	lastID   int64
}

// fault answers a request in place of the shop.
type fault struct {
	when   func(r *http.Request) bool
	then   func(w http.ResponseWriter, r *http.Request)
	always bool // and not only the first time
}

func (s *shop) goesWrong(r *http.Request) bool {
	f := s.fault.Load()
	if f == nil || !f.when(r) {
		return false
	}
	return f.always && s.faults.Add(1) > 0 || s.faults.CompareAndSwap(0, 1)
}

type account struct {
	id     int64
	writes int64
	ref    string
	cart   map[int64]int
	orders []order
}

func openShop(t *testing.T) *shop {
	t.Helper()
	s := &shop{accounts: map[string]*account{}}
	routes := http.NewServeMux()
	routes.HandleFunc("POST /api/accounts/login", s.login)
	for pattern, serve := range map[string]func(w http.ResponseWriter, r *http.Request, a *account){
		"GET /api/accounts/me":                 func(w http.ResponseWriter, _ *http.Request, a *account) { reply(w, 200, map[string]int64{"id": a.id}) },
		"GET /api/orders/activity":             func(w http.ResponseWriter, _ *http.Request, a *account) { reply(w, 200, activity{a.writes, a.ref}) },
		"GET /api/orders/cart":                 s.cart,
		"GET /api/orders":                      s.orders,
		"GET /api/orders/{id}":                 s.order,
		"PUT /api/orders/cart/items/{product}": s.setItem,
		"POST /cart/items":                     s.setItem,
		"POST /api/orders/checkout":            s.checkout,
		"POST /cart/checkout":                  s.checkout,
		"PUT /api/orders/{id}":                 s.change,
		"POST /orders/{id}/note":               s.change,
		"DELETE /api/orders/{id}":              s.cancel,
		"POST /orders/{id}/cancel":             s.cancel,
		"GET /cart":                            page,
		"GET /products/{id}":                   page,
		"GET /api/catalog/products":            page,
	} {
		routes.HandleFunc(pattern, s.signedIn(serve))
	}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.requests.Add(1)
		w.Header().Set("X-Served-By", "memory")
		defer func() {
			if seen := s.seen.Load(); seen != nil {
				(*seen)()
			}
		}()
		if s.goesWrong(r) {
			s.fault.Load().then(w, r)
			return
		}
		routes.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *shop) login(w http.ResponseWriter, r *http.Request) {
	var in struct{ Email, Password string }
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil || in.Password != Password {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.accounts[in.Email] == nil {
		s.accounts[in.Email] = &account{id: int64(len(s.accounts) + 1), writes: 7, cart: map[int64]int{}}
	}
	http.SetCookie(w, &http.Cookie{Name: sessionCookie, Value: in.Email})
	reply(w, http.StatusOK, struct{}{})
}

func (s *shop) signedIn(serve func(http.ResponseWriter, *http.Request, *account)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		cookie, err := r.Cookie(sessionCookie)
		if err != nil || s.accounts[cookie.Value] == nil {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		serve(w, r, s.accounts[cookie.Value])
	}
}

func page(w http.ResponseWriter, _ *http.Request, _ *account) { reply(w, http.StatusOK, struct{}{}) }

func (s *shop) cart(w http.ResponseWriter, _ *http.Request, a *account) {
	lines := []map[string]any{}
	for product, quantity := range a.cart {
		lines = append(lines, map[string]any{"product_id": product, "quantity": quantity})
	}
	reply(w, http.StatusOK, map[string]any{"lines": lines})
}

func (s *shop) orders(w http.ResponseWriter, _ *http.Request, a *account) {
	newest := []order{}
	for i := len(a.orders) - 1; i >= 0 && len(newest) < 5; i-- {
		newest = append(newest, a.orders[i])
	}
	reply(w, http.StatusOK, map[string]any{"orders": newest})
}

func (s *shop) order(w http.ResponseWriter, r *http.Request, a *account) {
	if o := a.find(r); o != nil {
		reply(w, http.StatusOK, o)
		return
	}
	w.WriteHeader(http.StatusNotFound)
}

func (a *account) find(r *http.Request) *order {
	for i := range a.orders {
		if strconv.FormatInt(a.orders[i].ID, 10) == r.PathValue("id") {
			return &a.orders[i]
		}
	}
	return nil
}

func (s *shop) setItem(w http.ResponseWriter, r *http.Request, a *account) {
	in := fields(r)
	product, _ := strconv.ParseInt(r.PathValue("product")+in["product_id"], 10, 64)
	quantity, _ := strconv.Atoi(in["quantity"])
	a.cart[product] = quantity
	if quantity == 0 {
		delete(a.cart, product)
	}
	s.count(a, in["ref"])
	answerWrite(w, r, http.StatusOK, "/cart", struct{}{})
}

func (s *shop) checkout(w http.ResponseWriter, r *http.Request, a *account) {
	if len(a.cart) == 0 {
		w.WriteHeader(http.StatusConflict)
		return
	}
	in := fields(r)
	s.lastID++
	o := order{ID: s.lastID, Status: "confirmed", Ref: in["ref"]}
	a.orders = append(a.orders, o)
	clear(a.cart)
	s.count(a, in["ref"])
	answerWrite(w, r, http.StatusCreated, fmt.Sprintf("/orders/%d", o.ID), o)
}

func (s *shop) change(w http.ResponseWriter, r *http.Request, a *account) {
	o, in := a.find(r), fields(r)
	o.Ref = in["ref"]
	o.Revision++
	s.count(a, in["ref"])
	answerWrite(w, r, http.StatusOK, fmt.Sprintf("/orders/%d", o.ID), o)
}

func (s *shop) cancel(w http.ResponseWriter, r *http.Request, a *account) {
	o := a.find(r)
	o.Status = "cancelled"
	s.count(a, fields(r)["ref"])
	answerWrite(w, r, http.StatusOK, fmt.Sprintf("/orders/%d", o.ID), o)
}

// count logs and counts a write. mu is held.
func (s *shop) count(a *account, ref string) {
	a.writes++
	a.ref = ref
	s.log = append(s.log, ref)
}

// fields reads a form, a query or flat JSON.
func fields(r *http.Request) map[string]string {
	in := map[string]string{}
	if r.Header.Get("Content-Type") == "application/json" {
		var values map[string]any
		if err := json.NewDecoder(r.Body).Decode(&values); err != nil {
			panic(err)
		}
		for name, value := range values {
			in[name] = fmt.Sprint(value)
		}
		return in
	}
	if err := r.ParseForm(); err != nil {
		panic(err)
	}
	for name := range r.Form {
		in[name] = r.Form.Get(name)
	}
	return in
}

func answerWrite(w http.ResponseWriter, r *http.Request, status int, page string, v any) {
	if strings.HasPrefix(r.URL.Path, "/api/") {
		reply(w, status, v)
		return
	}
	w.Header().Set("Location", page)
	w.WriteHeader(http.StatusSeeOther)
}

func reply(w http.ResponseWriter, status int, v any) {
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(v); err != nil {
		panic(err)
	}
}
