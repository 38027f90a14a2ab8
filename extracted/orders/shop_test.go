package orders

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"extracted/internal/database"
	"testbed"
)

// shop is the service on a database of its own, served over HTTP, in its town. Its worker runs when a test
// says so.
type shop struct {
	*Service
	t    *testing.T
	url  string
	db   string
	town *town
	logs *journal
}

// journal collects log lines.
type journal struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.all.Write(b)
}

func (j *journal) count(text string) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Count(j.all.String(), text)
}

// quick are times short enough for a test and in the proportions of the real ones.
var quick = Config{ServiceToken: token, Patience: 1500 * time.Millisecond, CallTimeout: 200 * time.Millisecond}

func newShop(t *testing.T) *shop { return newShopWith(t, quick) }

func newShopWith(t *testing.T, cfg Config) *shop {
	t.Parallel()
	return openShop(t, testbed.Database(t), newTown(t), cfg)
}

// openShop starts a service on a database that may have been used before.
func openShop(t *testing.T, db string, n *town, cfg Config) *shop {
	ctx := context.Background()
	pool, err := database.Open(ctx, db, "test")
	must(t, err)
	t.Cleanup(pool.Close)
	must(t, Migrate(ctx, pool))
	seed(t, pool)
	if cfg.Gateway == "" {
		cfg.Gateway = n.URL
	}
	logs := &journal{}
	s, err := New(pool, cfg, slog.New(slog.NewTextHandler(logs, nil)))
	must(t, err)
	srv := httptest.NewServer(s.Handler())
	t.Cleanup(srv.Close)
	return &shop{Service: s, t: t, url: srv.URL, db: db, town: n, logs: logs}
}

// seed fills the reference copy, as the mover would. Product 3 is scarce, 4 beyond anybody's credit, 5 withdrawn.
func seed(t *testing.T, pool *pgxpool.Pool) {
	_, err := pool.Exec(context.Background(), `INSERT INTO products (id, sku, name, description, category, price_cents, active)
		VALUES (1, 'a', 'Apple', '', 'fruit', 100, true), (2, 'b', 'Book', '', 'paper', 2500, true), (3, 'c', 'Crown', '', 'metal', 900, true),
			(4, 'd', 'Dome', '', 'house', 5000001, true), (5, 'e', 'Echo', '', 'air', 5, false)
		ON CONFLICT DO NOTHING`)
	must(t, err)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// answered is a response read to its end.
type answered struct {
	status int
	header http.Header
	body   string
}

// do sends a request of the customer whose session is who; "" is nobody.
func (s *shop) do(who, method, path, body string, header ...string) answered {
	s.t.Helper()
	a, err := send(s.url, who, method, path, body, header...)
	must(s.t, err)
	return a
}

func send(url, who, method, path, body string, header ...string) (answered, error) {
	req, err := http.NewRequest(method, url+path, strings.NewReader(body))
	if err != nil {
		return answered{}, err
	}
	if strings.Contains(body, "=") && !strings.HasPrefix(body, "{") {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if who != "" {
		req.AddCookie(&http.Cookie{Name: "session", Value: who})
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := (&http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}).Do(req)
	if err != nil {
		return answered{}, err
	}
	defer resp.Body.Close()
	read, err := io.ReadAll(resp.Body)
	return answered{resp.StatusCode, resp.Header, string(read)}, err
}

// want fails the test unless the status is the expected one.
func (s *shop) want(a answered, status int) answered {
	s.t.Helper()
	if a.status != status {
		s.t.Fatalf("status %d, want %d: %s", a.status, status, a.body)
	}
	return a
}

func (s *shop) order(a answered) Order {
	s.t.Helper()
	var o Order
	must(s.t, json.Unmarshal([]byte(a.body), &o))
	return o
}

// fill puts a product into the cart of ann.
func (s *shop) fill(product string, quantity string) {
	s.t.Helper()
	s.want(s.do("ann", "PUT", "/api/orders/cart/items/"+product, `{"quantity":`+quantity+`,"ref":"fill"}`), 200)
}

func (s *shop) checkOut() answered {
	s.t.Helper()
	return s.do("ann", "POST", "/api/orders/checkout", `{"ref":"buy","note":"quick"}`)
}

// value reads one number of the database.
func (s *shop) value(query string, args ...any) (n int64) {
	s.t.Helper()
	must(s.t, s.pool.QueryRow(context.Background(), query, args...).Scan(&n))
	return n
}

func (s *shop) exec(query string, args ...any) {
	s.t.Helper()
	_, err := s.pool.Exec(context.Background(), query, args...)
	must(s.t, err)
}

// expire lets the time of all leases pass.
func (s *shop) expire() {
	s.t.Helper()
	s.exec(`UPDATE outbox SET lease_until = now() - interval '1 second' WHERE done_at IS NULL`)
}

// work lets the leases pass and the worker work, and returns how much it claimed.
func (s *shop) work() int {
	s.t.Helper()
	s.expire()
	claimed, err := s.worker.runOnce(context.Background())
	must(s.t, err)
	return claimed
}

// settled holds the order and its neighbours against each other: what an order says is what it has.
func (s *shop) settled(id int64, want string) {
	s.t.Helper()
	o, err := anyOrder(context.Background(), s.pool, id)
	must(s.t, err)
	if o.Status != want {
		s.t.Errorf("order %d is %s, want %s", id, o.Status, want)
	}
	stock, money := s.town.holds(id)
	if has := want == confirmed; stock != has || money != has {
		s.t.Errorf("order %d is %s and has stock: %t, money: %t", id, want, stock, money)
	}
	if n := s.value(`SELECT count(*) FROM outbox WHERE done_at IS NULL`); n != 0 {
		s.t.Errorf("%d tasks are open", n)
	}
	logged := s.value(`SELECT count(*) FROM order_log WHERE order_id = $1 AND kind = 'checkout'`, id)
	if has := want == confirmed || want == cancelled; (logged == 1) != has || logged > 1 {
		s.t.Errorf("order %d is %s and its checkout is logged %d times", id, want, logged)
	}
	if writes, rows := s.value(`SELECT coalesce(sum(writes), 0)::bigint FROM order_stats`), s.value(`SELECT count(*) FROM order_log`); writes != rows {
		s.t.Errorf("%d writes counted, %d logged", writes, rows)
	}
}

// lastOrder is the number of the newest order.
func (s *shop) lastOrder() int64 {
	s.t.Helper()
	return s.value(`SELECT max(id) FROM orders`)
}
