package orders

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

func TestReads(t *testing.T) {
	s := newShop(t)
	var ids []int64
	for range 3 {
		s.fill("1", "1")
		ids = append(ids, s.order(s.want(s.checkOut(), 201)).ID)
	}
	var list struct{ Orders []Order }
	must(t, json.Unmarshal([]byte(s.want(s.do("ann", "GET", "/api/orders?limit=2", ""), 200).body), &list))
	if len(list.Orders) != 2 || list.Orders[0].ID != ids[2] || len(list.Orders[1].Lines) != 1 {
		t.Errorf("list is %+v", list)
	}
	if a := s.do("bob", "GET", "/api/orders", ""); strings.TrimSpace(a.body) != `{"orders":[]}` {
		t.Errorf("bob's list is %s", a.body)
	}
	s.want(s.do("bob", "GET", "/api/orders/"+itoa(ids[0]), ""), 404)
	s.want(s.do("ann", "GET", "/api/orders/99999999999999999999", ""), 404)
	s.want(s.do("ann", "GET", "/api/orders?limit=many", ""), 400)
	if a := s.do("bob", "GET", "/api/orders/activity", ""); strings.TrimSpace(a.body) != `{"writes":0,"last_ref":""}` {
		t.Errorf("bob's activity is %s", a.body)
	}
	raw := s.do("ann", "GET", "/api/orders/"+itoa(ids[0]), "").body
	for _, field := range []string{`"id":`, `"status":"confirmed"`, `"total_cents":100`, `"note":"quick"`, `"ref":"buy"`, `"revision":0`,
		`"lines":[{"line":1,"product_id":1,"quantity":1,"unit_price_cents":100}]`, `"created_at":"`} {
		if !strings.Contains(raw, field) {
			t.Errorf("%s lacks %s", raw, field)
		}
	}
}

func TestChange(t *testing.T) {
	s := newShop(t)
	s.fill("1", "1")
	path := "/api/orders/" + itoa(s.order(s.want(s.checkOut(), 201)).ID)
	o := s.order(s.want(s.do("ann", "PUT", path, `{"note":"at the door","ref":"r9"}`), 200))
	if o.Revision != 1 || o.Note != "at the door" || o.Ref != "r9" || len(o.Lines) != 1 {
		t.Errorf("order is %+v", o)
	}
	s.want(s.do("bob", "PUT", path, `{"note":"mine"}`), 404)
	for _, body := range []string{`{"note":`, `{"note":"a\u0000b"}`, `{"note":"` + strings.Repeat("x", maxNote+1) + `"}`, `{} {}`} {
		s.want(s.do("ann", "PUT", path, body), 400)
	}
	s.want(s.do("ann", "PUT", path, `{"note":"`+strings.Repeat("x", 2<<20)+`"}`), 413)
	if s.value(`SELECT count(*) FROM order_log WHERE kind = 'change'`) != 1 {
		t.Error("a refused change was logged")
	}
}

func TestCartRefusals(t *testing.T) {
	s := newShop(t)
	for body, status := range map[string]int{
		`{"quantity":-1}`: 400, `{"quantity":1001}`: 400, `{}`: 400, `{"quantity":"1"}`: 400,
		`{"quantity":1,"ref":"` + strings.Repeat("r", maxRef+1) + `"}`: 400,
	} {
		s.want(s.do("ann", "PUT", "/api/orders/cart/items/1", body), status)
	}
	s.want(s.do("ann", "PUT", "/api/orders/cart/items/404", `{"quantity":1}`), 404)
	s.want(s.do("ann", "PUT", "/api/orders/cart/items/5", `{"quantity":1}`), 404) // withdrawn
	if s.value(`SELECT count(*) FROM order_log`)+s.value(`SELECT count(*) FROM carts`) != 0 {
		t.Error("a refused write left something behind")
	}
}

func TestWhoIsAsking(t *testing.T) {
	s := newShop(t)
	s.want(s.do("", "GET", "/api/orders", "", "X-User", "1", "X-Customer-Id", "1", "Authorization", "Bearer "+token), 401)
	s.want(s.do("stranger", "GET", "/api/orders", ""), 401)
	s.town.failAlways("/api/accounts/me", status(500))
	if a := s.want(s.do("ann", "GET", "/api/orders", ""), 503); a.header.Get("Retry-After") != "1" {
		t.Error("no Retry-After")
	}
	s.town.failAlways("/api/accounts/me", nil)
	s.want(s.do("ann", "GET", "/api/orders", ""), 200)
}

func TestHealthAndStrays(t *testing.T) {
	s := newShop(t)
	for path, status := range map[string]int{"/healthz": 200, "/nowhere": 404, "/api/orders/x": 404} {
		if a := s.want(s.do("", "GET", path, ""), status); a.header.Get("X-Served-By") != "orders" {
			t.Errorf("%s: X-Served-By is %q", path, a.header.Get("X-Served-By"))
		}
	}
	s.want(s.do("", "PATCH", "/api/orders", ""), 405)
	s.pool.Close()
	s.want(s.do("", "GET", "/healthz", ""), 503)
}

// What comes in with a request goes out with every call made for it, also by the worker long after.
func TestTrail(t *testing.T) {
	s := newShop(t)
	s.fill("1", "1")
	s.town.failAlways("/api/billing/charges", status(503))
	s.want(s.do("ann", "POST", "/api/orders/checkout", `{}`, "Traceparent", "00-4bf9-00f0-01", "X-Request-Id", "req-7"), 503)
	s.town.failAlways("/api/billing/charges", nil)
	s.work()
	s.settled(s.lastOrder(), confirmed)
	s.town.mu.Lock()
	defer s.town.mu.Unlock()
	last := s.town.calls[len(s.town.calls)-1]
	for _, r := range []*http.Request{s.town.calls[len(s.town.calls)-2], last} {
		if r.Header.Get("Traceparent") != "00-4bf9-00f0-01" || r.Header.Get("X-Request-Id") != "req-7" {
			t.Errorf("%s carries %v", r.URL.Path, r.Header)
		}
	}
	if s.logs.count("trail.request_id=req-7") < 2 {
		t.Error("the request's id is not in the log")
	}
}

func TestMigrateTwice(t *testing.T) {
	s := newShop(t)
	must(t, Migrate(context.Background(), s.pool))
	if s.value(`SELECT count(*) FROM schema_migrations`) != 3 {
		t.Error("migrations are recorded wrongly")
	}
}

func TestDoneTasksAreForgotten(t *testing.T) {
	s := newShop(t)
	s.fill("1", "1")
	s.want(s.checkOut(), 201)
	must(t, forgetTasks(context.Background(), s.pool))
	if s.value(`SELECT count(*) FROM outbox`) != 1 {
		t.Error("forgotten too early")
	}
	s.exec(`UPDATE outbox SET done_at = now() - interval '2 hours'`)
	must(t, forgetTasks(context.Background(), s.pool))
	if s.value(`SELECT count(*) FROM outbox`) != 0 {
		t.Error("not forgotten")
	}
}

func TestConfigIsChecked(t *testing.T) {
	for _, cfg := range []Config{{Gateway: "http://x"}, {ServiceToken: "x"}, {Gateway: "http://x", ServiceToken: "x", Patience: 20e9}} {
		if _, err := New(nil, cfg, nil); err == nil {
			t.Errorf("%+v was accepted", cfg)
		}
	}
}
