package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"testbed"

	"legacy-monolith/database"
	"legacy-monolith/generate"
)

func TestMain(m *testing.M) { testbed.Main(m) }

const serviceToken = "token of the tests"

// branch is a whole shop on a database of its own, with a small generated past.
type branch struct {
	t    *testing.T
	pool *pgxpool.Pool
	url  string
}

var small = generate.Size{Customers: 5, Products: 20, Orders: 10, Seed: 1}

func openBranch(t *testing.T) *branch {
	t.Helper()
	pool := emptyDatabase(t)
	if _, err := generate.Load(t.Context(), pool, small); err != nil {
		t.Fatal(err)
	}
	b := &branch{t: t, pool: pool}
	b.url = b.serve("")
	return b
}

func emptyDatabase(t *testing.T) *pgxpool.Pool {
	t.Helper()
	pool, err := database.Connect(t.Context(), testbed.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	if _, err := database.Migrate(t.Context(), pool); err != nil {
		t.Fatal(err)
	}
	return pool
}

// serve starts another process of the same shop, so to speak, and returns its URL.
func (b *branch) serve(ordersURL string) string {
	server := httptest.NewServer(shop(b.pool, serviceToken, ordersURL, slog.New(slog.DiscardHandler)))
	b.t.Cleanup(server.Close)
	return server.URL
}

// value reads one value of the database as text.
func (b *branch) value(query string, args ...any) (text string) {
	b.t.Helper()
	if err := b.pool.QueryRow(b.t.Context(), `select (`+query+`)::text`, args...).Scan(&text); err != nil {
		b.t.Fatalf("%s: %v", query, err)
	}
	return text
}

func (b *branch) exec(statement string, args ...any) {
	b.t.Helper()
	if _, err := b.pool.Exec(b.t.Context(), statement, args...); err != nil {
		b.t.Fatalf("%s: %v", statement, err)
	}
}

// contents is a fingerprint of every row of every table but sessions.
func (b *branch) contents() string {
	b.t.Helper()
	var all strings.Builder
	for _, table := range []string{"customers", "products", "stock", "stock_movements", "stock_tombstones", "carts", "cart_lines",
		"orders", "order_lines", "order_stats", "order_log", "payments", "invoices", "charge_tombstones"} {
		fmt.Fprintln(&all, table, b.value(fmt.Sprintf(
			`select count(*) || ' ' || coalesce(md5(string_agg(t::text, ',' order by t::text)), '') from %s t`, table)))
	}
	return all.String()
}

// client speaks to a shop; it keeps cookies and follows redirects, like a browser.
type client struct {
	t     *testing.T
	url   string
	http  *http.Client
	token string
	// header is added to every request.
	header http.Header
}

func (b *branch) client() *client {
	jar, err := cookiejar.New(nil)
	if err != nil {
		b.t.Fatal(err)
	}
	return &client{t: b.t, url: b.url, http: &http.Client{Jar: jar}}
}

// customer is a client that is signed in as generated customer n.
func (b *branch) customer(n int) *client {
	b.t.Helper()
	c := b.client()
	c.call(http.MethodPost, "/api/accounts/login",
		fmt.Sprintf(`{"email":%q,"password":"secret"}`, generate.Email(n))).want(http.StatusOK)
	return c
}

// service is a client that carries the service token.
func (b *branch) service() *client {
	c := b.client()
	c.token = serviceToken
	return c
}

type reply struct {
	t      *testing.T
	what   string
	status int
	header http.Header
	path   string // after redirects
	body   string
}

func (c *client) call(method, path, body string) reply {
	c.t.Helper()
	return c.send(method, path, "application/json", strings.NewReader(body))
}

func (c *client) get(path string) reply {
	c.t.Helper()
	return c.call(http.MethodGet, path, "")
}

// submit posts a form.
func (c *client) submit(path string, fields ...string) reply {
	c.t.Helper()
	form := url.Values{}
	for i := 0; i < len(fields); i += 2 {
		form.Set(fields[i], fields[i+1])
	}
	return c.send(http.MethodPost, path, "application/x-www-form-urlencoded", strings.NewReader(form.Encode()))
}

func (c *client) send(method, path, contentType string, body io.Reader) reply {
	c.t.Helper()
	request, err := http.NewRequestWithContext(c.t.Context(), method, c.url+path, body)
	if err != nil {
		c.t.Fatal(err)
	}
	maps.Copy(request.Header, c.header)
	request.Header.Set("Content-Type", contentType)
	if c.token != "" {
		request.Header.Set("Authorization", "Bearer "+c.token)
	}
	response, err := c.http.Do(request)
	if err != nil {
		c.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return reply{t: c.t, what: method + " " + path, status: response.StatusCode, header: response.Header,
		path: response.Request.URL.Path, body: string(bytes.TrimSpace(text))}
}

// want fails the test unless the answer has the status; it returns the answer.
func (r reply) want(status int) reply {
	r.t.Helper()
	if r.status != status {
		r.t.Fatalf("%s answered %d %s, want %d", r.what, r.status, r.body, status)
	}
	return r
}

// saying fails the test unless the answer contains text.
func (r reply) saying(text string) reply {
	r.t.Helper()
	if !strings.Contains(r.body, text) {
		r.t.Fatalf("%s answered %s, want it to contain %q", r.what, r.body, text)
	}
	return r
}

// decode reads the answer as JSON.
func decode[T any](r reply) (v T) {
	r.t.Helper()
	if err := json.Unmarshal([]byte(r.body), &v); err != nil {
		r.t.Fatalf("%s answered %s: %v", r.what, r.body, err)
	}
	return v
}

func equal[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s is %v, want %v", what, got, want)
	}
}
