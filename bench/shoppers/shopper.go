package shoppers

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// shopper is one customer at one browser. It does one thing at a time, so it knows what it must see. Nobody else uses
// the same account.
type shopper struct {
	number   int // of the generated customer
	run      string
	products int
	chance   *rand.Rand
	shop     *url.URL
	conn     *connection
	record   *Record

	session  string
	customer int64
	before   int64 // writes before the load

	writes  int64 // all that this account has acknowledged, before included
	refs    int   // handed out
	lastRef string
	cart    map[int64]int // quantity by product
	orders  []order       // placed in this run, newest last
	unsure  bool          // a write of ours failed: it may have happened, or happen yet
}

// order is what the shopper knows of an order of its own.
type order struct {
	ID       int64  `json:"id"`
	Status   string `json:"status"`
	Ref      string `json:"ref"`
	Revision int64  `json:"revision"`
}

// keptOrders is how many of its newest orders a shopper comes back to.
const keptOrders = 5

type activity struct {
	Writes  int64  `json:"writes"`
	LastRef string `json:"last_ref"`
}

type cart struct {
	Lines []struct {
		ProductID int64 `json:"product_id"`
		Quantity  int   `json:"quantity"`
	} `json:"lines"`
}

func (c cart) quantities() map[int64]int {
	q := map[int64]int{}
	for _, line := range c.Lines {
		q[line.ProductID] = line.Quantity
	}
	return q
}

// enter logs in and learns where the account stands. It is not part of the record.
func (s *shopper) enter() error {
	got, err := s.conn.do(s.request(http.MethodPost, "/api/accounts/login", jsonBody(map[string]string{
		"email": Email(s.number), "password": Password})))
	if err != nil {
		return err
	}
	if got.status != http.StatusOK || got.session == "" {
		return fmt.Errorf("login answered %d without a session: %s", got.status, got.said())
	}
	s.session = got.session
	var me struct{ ID int64 }
	var now activity
	var filled cart
	for _, ask := range []struct {
		path string
		into any
	}{{"/api/accounts/me", &me}, {"/api/orders/activity", &now}, {"/api/orders/cart", &filled}} {
		got, err := s.conn.do(s.request(http.MethodGet, ask.path, body{}))
		if err != nil {
			return err
		}
		if got.status != http.StatusOK {
			return fmt.Errorf("%s answered %d: %s", ask.path, got.status, got.said())
		}
		if err := json.Unmarshal(got.body, ask.into); err != nil {
			return fmt.Errorf("read answer of %s: %w", ask.path, err)
		}
	}
	s.customer, s.before, s.writes, s.lastRef, s.cart = me.ID, now.Writes, now.Writes, now.LastRef, filled.quantities()
	return nil
}

// body of a request; the zero body is none.
type body struct {
	kind string
	text []byte
}

func jsonBody(v any) body {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // strings and numbers only
	}
	return body{"application/json", text}
}

func formBody(fields url.Values) body {
	return body{"application/x-www-form-urlencoded", []byte(fields.Encode())}
}

func (s *shopper) request(method, path string, b body) *http.Request {
	path, query, _ := strings.Cut(path, "?")
	r := &http.Request{
		Method: method, URL: &url.URL{Scheme: s.shop.Scheme, Host: s.shop.Host, Path: path, RawQuery: query},
		Header: http.Header{}, Host: s.shop.Host, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}
	if b.kind != "" {
		r.Header.Set("Content-Type", b.kind)
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(b.text)), int64(len(b.text))
	}
	if s.session != "" {
		r.AddCookie(&http.Cookie{Name: sessionCookie, Value: s.session})
	}
	return r
}

// send makes one request of the record. It returns the answer and why it failed, if it did: no answer, or the shop
// saying that it could not.
func (s *shopper) send(method, path string, b body) (answer, error) {
	got, err := s.conn.do(s.request(method, path, b))
	at := time.Now()
	if err != nil {
		s.record.answered(at, "")
		return got, err
	}
	s.record.answered(at, got.servedBy)
	if got.status >= http.StatusInternalServerError {
		return got, fmt.Errorf("%s %s: %d from %q: %s", method, path, got.status, got.servedBy, got.said())
	}
	return got, nil
}

func (s *shopper) fault(err error) {
	s.record.failed(time.Now(), fmt.Sprintf("customer %d: %v", s.customer, err))
}

func (s *shopper) newest() *order {
	if len(s.orders) == 0 {
		return nil
	}
	return &s.orders[len(s.orders)-1]
}
