package catalog

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"extracted/internal/database"
	"testbed"
)

func TestMain(m *testing.M) { testbed.Main(m) }

const token = "service-token"

// newService serves a catalog of 30 products, of which number 30 is withdrawn. accounts answers who is asking.
func newService(t *testing.T, accounts http.HandlerFunc) *httptest.Server {
	t.Parallel()
	ctx := context.Background()
	pool, err := database.Open(ctx, testbed.Database(t), "test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	if err := Migrate(ctx, pool); err != nil {
		t.Fatal(err)
	}
	if _, err := pool.Exec(ctx, `INSERT INTO products (sku, name, description, category, price_cents, active)
		SELECT 'sku-' || n, 'Thing ' || n || CASE WHEN n = 7 THEN ' 100% \_/' ELSE '' END, 'about', CASE WHEN n % 2 = 0 THEN 'even' ELSE 'odd' END, n * 100, n < 30
		FROM generate_series(1, 30) n`); err != nil {
		t.Fatal(err)
	}
	gateway := httptest.NewServer(accounts)
	t.Cleanup(gateway.Close)
	s, err := New(pool, Config{Gateway: gateway.URL + "/", ServiceToken: token}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(s.Handler())
	t.Cleanup(srv.Close)
	return srv
}

func ann(w http.ResponseWriter, _ *http.Request) {
	io.WriteString(w, `{"id":1,"email":"a@b","name":"Ann"}`)
}

func down(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

func do(t *testing.T, srv *httptest.Server, want int, method, path, body string, header ...string) string {
	t.Helper()
	req, err := http.NewRequest(method, srv.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := srv.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	read, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != want || resp.Header.Get("X-Served-By") != "catalog" {
		t.Fatalf("%s %s: status %d, want %d, served by %q: %s", method, path, resp.StatusCode, want, resp.Header.Get("X-Served-By"), read)
	}
	return string(read)
}

func TestListing(t *testing.T) {
	srv := newService(t, ann)
	var seen []int64
	path := "/api/catalog/products?limit=12"
	for pages := 0; ; pages++ {
		var page listing
		if err := json.Unmarshal([]byte(do(t, srv, 200, "GET", path, "")), &page); err != nil {
			t.Fatal(err)
		}
		for _, p := range page.Products {
			seen = append(seen, p.ID)
		}
		if page.Next == 0 {
			break
		}
		path = fmt.Sprintf("/api/catalog/products?limit=12&after=%d", page.Next)
	}
	if len(seen) != 29 || seen[0] != 1 || seen[28] != 29 {
		t.Errorf("saw %v", seen)
	}
	if got := do(t, srv, 200, "GET", "/api/catalog/products?category=even&limit=100", ""); strings.Count(got, `"category":"even"`) != 14 || strings.Contains(got, "odd") {
		t.Errorf("category holds %s", got)
	}
	if got := do(t, srv, 200, "GET", "/api/catalog/products?category=none", ""); strings.TrimSpace(got) != `{"products":[],"next":0}` {
		t.Errorf("empty category holds %s", got)
	}
	do(t, srv, 400, "GET", "/api/catalog/products?after=x", "")
	do(t, srv, 400, "GET", "/api/catalog/products?category=%00", "")
}

func TestSearchTakesTextLiterally(t *testing.T) {
	srv := newService(t, ann)
	for q, want := range map[string]int{"thing+28": 1, "THING": 20, "100%25": 1, "%25": 1, "_": 1, "%5C": 1, "thing+30": 0} {
		if got := do(t, srv, 200, "GET", "/api/catalog/search?q="+q, ""); strings.Count(got, `"id":`) != want {
			t.Errorf("%s: %s", q, got)
		}
	}
	do(t, srv, 400, "GET", "/api/catalog/search?q=%ff", "")
}

func TestProduct(t *testing.T) {
	srv := newService(t, ann)
	if got := strings.TrimSpace(do(t, srv, 200, "GET", "/api/catalog/products/3", "")); got !=
		`{"id":3,"sku":"sku-3","name":"Thing 3","description":"about","category":"odd","price_cents":300}` {
		t.Errorf("product is %s", got)
	}
	for _, id := range []string{"30", "31", "99999999999999999999"} {
		do(t, srv, 404, "GET", "/api/catalog/products/"+id, "")
	}
}

func TestChange(t *testing.T) {
	srv := newService(t, ann)
	const path = "/api/catalog/products/3"
	do(t, srv, 401, "PUT", path, `{"name":"x","price_cents":1}`)
	do(t, srv, 401, "PUT", path, `{"name":"x","price_cents":1}`, "Authorization", "Bearer ", "Cookie", "session=a")
	bearer := []string{"Authorization", "Bearer " + token}
	for _, body := range []string{`{"name":" ","price_cents":1}`, `{"name":"x","price_cents":-1}`, `{"name":"x"}`, `{`, `{"name":"\u0000","price_cents":1}`} {
		do(t, srv, 400, "PUT", path, body, bearer...)
	}
	do(t, srv, 404, "PUT", "/api/catalog/products/99", `{"name":"x","price_cents":1}`, bearer...)
	do(t, srv, 200, "PUT", path, `{"name":"Renamed","price_cents":17}`, bearer...)
	if got := do(t, srv, 200, "GET", path, ""); !strings.Contains(got, `"name":"Renamed"`) || !strings.Contains(got, `"price_cents":17`) {
		t.Errorf("product is %s", got)
	}
}

func TestPages(t *testing.T) {
	srv := newService(t, ann)
	window := do(t, srv, 200, "GET", "/", "", "Cookie", "session=a")
	for _, text := range []string{"Thing 20", "after=20", "Ann", "served by catalog service", "€ 20.00"} {
		if !strings.Contains(window, text) {
			t.Errorf("shop window lacks %q", text)
		}
	}
	if found := do(t, srv, 200, "GET", "/?q=thing+28", ""); !strings.Contains(found, "Thing 28") || strings.Contains(found, "Thing 27") {
		t.Error("search page is wrong")
	}
	product := do(t, srv, 200, "GET", "/products/3", "")
	for _, text := range []string{`action="/cart/items"`, `name="product_id" value="3"`, "Sign in"} {
		if !strings.Contains(product, text) {
			t.Errorf("product page lacks %q", text)
		}
	}
	if problem := do(t, srv, 404, "GET", "/products/99", ""); !strings.Contains(problem, "no such product") {
		t.Error("no problem page")
	}
	do(t, srv, 200, "GET", "/healthz", "")
	do(t, srv, 405, "POST", "/", "")
}

func TestShopWindowWithoutAccounts(t *testing.T) {
	srv := newService(t, down)
	if page := do(t, srv, 200, "GET", "/", "", "Cookie", "session=a"); !strings.Contains(page, "Thing 1") || !strings.Contains(page, "Sign in") {
		t.Error("the shop window went dark")
	}
}
