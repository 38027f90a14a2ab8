package orders

import (
	"context"
	"strings"
	"testing"

	"extracted/internal/database"
)

const sealedMessage = `capability "orders" is owned by legacy`

// seal makes the moved tables refuse writes as a gate does. Only it and the mover know the outbox is no part of it.
func (s *shop) seal() {
	s.t.Helper()
	s.exec(`CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN RAISE EXCEPTION 'capability "orders" is owned by legacy' USING ERRCODE = 'P0S01'; END $$`)
	for _, table := range []string{"carts", "cart_lines", "orders", "items", "order_stats", "order_log"} {
		s.exec(`CREATE TRIGGER gate BEFORE INSERT OR UPDATE OR DELETE ON ` + table + ` FOR EACH STATEMENT EXECUTE FUNCTION refuse()`)
	}
}

func (s *shop) unseal() {
	s.t.Helper()
	s.exec(`DROP FUNCTION refuse CASCADE`)
}

func TestSealedRefusesEveryWriteBeforeAnythingHappens(t *testing.T) {
	s := newShop(t)
	s.fill("1", "2")
	id := s.order(s.want(s.checkOut(), 201)).ID
	s.fill("1", "1")
	before := s.town.called("/api/")
	s.seal()
	for _, c := range [][3]string{
		{"PUT", "/api/orders/cart/items/1", `{"quantity":3}`},
		{"POST", "/api/orders/checkout", `{}`},
		{"PUT", "/api/orders/" + itoa(id), `{"note":"x"}`},
		{"DELETE", "/api/orders/" + itoa(id), ""},
		{"POST", "/cart/items", "product_id=1&quantity=2"},
		{"POST", "/cart/checkout", "note="},
	} {
		a := s.want(s.do("ann", c[0], c[1], c[2]), 503)
		if a.header.Get("Retry-After") != "1" || a.header.Get("X-Strangler-Gate") == "" || !strings.Contains(strings.ReplaceAll(strings.ReplaceAll(a.body, `\"`, `"`), "&#34;", `"`), sealedMessage) {
			t.Errorf("%s %s: %v %s", c[0], c[1], a.header, a.body)
		}
	}
	s.want(s.do("", "POST", "/api/orders/"+itoa(id)+"/refunded", "", "Authorization", "Bearer "+token), 503)
	s.want(s.do("ann", "GET", "/api/orders", ""), 200)
	if now := s.town.called("/api/stock") + s.town.called("/api/billing"); now > before {
		t.Errorf("neighbours were called for writes that were refused")
	}
	s.unseal()
	s.settled(id, confirmed)
}

func TestSealedInTheMiddleIsFinishedLater(t *testing.T) {
	cfg := quick
	var s *shop
	cfg.cut = func(step string) error {
		if step == "charged" {
			s.seal()
		}
		return nil
	}
	s = newShopWith(t, cfg)
	s.fill("1", "2")
	if a := s.want(s.checkOut(), 503); !strings.Contains(a.body, "owned by legacy") {
		t.Errorf("answer is %s", a.body)
	}
	calls := s.town.called("/api/stock")
	for range 3 {
		s.expire()
		_, err := s.worker.runOnce(context.Background())
		if !database.IsGateRefused(err) {
			t.Fatalf("worker got %v", err)
		}
		s.worker.report(context.Background(), err)
	}
	if s.town.called("/api/stock") != calls {
		t.Error("the worker acted for an order it may not write")
	}
	if n := s.logs.count("worker waits"); n != 1 {
		t.Errorf("logged %d times", n)
	}
	s.unseal()
	s.saga.cut = func(string) error { return nil }
	s.work()
	s.settled(s.lastOrder(), confirmed)
	s.worker.report(context.Background(), nil)
	if s.logs.count("worker goes on") != 1 {
		t.Error("going on was not logged")
	}
}

func TestRefusalsThatPass(t *testing.T) {
	for _, code := range []string{"40001", "55P03", "57014"} {
		t.Run(code, func(t *testing.T) {
			s := newShop(t)
			s.exec(`CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
				BEGIN RAISE EXCEPTION 'not now' USING ERRCODE = '` + code + `'; END $$`)
			s.exec(`CREATE TRIGGER gate BEFORE INSERT ON carts FOR EACH STATEMENT EXECUTE FUNCTION refuse()`)
			if a := s.want(s.do("ann", "PUT", "/api/orders/cart/items/1", `{"quantity":1}`), 503); !strings.Contains(a.body, "not now") {
				t.Errorf("answer is %s", a.body)
			}
		})
	}
}
