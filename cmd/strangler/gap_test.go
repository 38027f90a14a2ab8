package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"strangler/capability"
)

// TestASwitchThatCannotDrainIsUndone: a write that is in flight when writes are held
// cannot be applied on the other side in time. Nothing has happened then, and the
// message says what was waited for.
func TestASwitchThatCannotDrainIsUndone(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("needs PostgreSQL")
	}
	h := newHouse(t, "undrained", "  tables:\n    - table: orders\n")
	come, held := make(chan struct{}), make(chan struct{})
	monolith := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		close(come)
		<-held
		h.sql(capability.Legacy, `INSERT INTO orders (note) VALUES ('in flight')`)
	}))
	t.Cleanup(monolith.Close)
	config, err := os.ReadFile(filepath.Join(h.dir, "config.yaml"))
	h.must(err)
	before, rest, _ := strings.Cut(string(config), "endpoints: [")
	_, after, _ := strings.Cut(rest, "]")
	h.write("config.yaml", before+"endpoints: ["+monolith.URL+"]"+after)
	h.sql(capability.Legacy, `CREATE TABLE orders (id bigserial PRIMARY KEY, note text)`)
	h.types("data", "plan", "undrained", "--create")
	h.down = h.up()
	h.types("data", "start", "undrained")
	h.types("data", "verify", "undrained")

	// Somebody keeps the mover from noting how far it has come.
	blocker, err := h.pools[capability.Extracted].Begin(t.Context())
	h.must(err)
	defer blocker.Rollback(context.Background()) //nolint:errcheck // done already where all is well
	_, err = blocker.Exec(t.Context(), `SELECT FROM strangler.progress WHERE capability = 'undrained' FOR UPDATE`)
	h.must(err)
	posted := make(chan int, 1)
	go func() {
		response, err := http.Post("http://"+h.clients+"/api/undrained/1", "text/plain", strings.NewReader("x"))
		if err != nil {
			posted <- 0
			return
		}
		posted <- response.StatusCode
		_ = response.Body.Close()
	}()
	<-come
	type result struct {
		out    string
		status int
	}
	typed := make(chan result, 1)
	go func() {
		out, status := h.try("cutover", "undrained")
		typed <- result{out, status}
	}()
	h.eventually("writes are held", func(s capability.Status) bool { return s.Effective.Phase == capability.Switching })
	close(held)
	r := <-typed
	t.Log(r.out)
	for _, want := range []string{"drain", "writes would wait longer than 3s", "extracted has not applied everything that legacy had committed", "↩ close"} {
		if !strings.Contains(r.out, want) {
			t.Errorf("nothing of %q", want)
		}
	}
	if strings.Contains(r.out, "context deadline") || r.status == 0 {
		t.Errorf("exit status %d", r.status)
	}
	if status := <-posted; status != http.StatusOK {
		t.Errorf("the write in flight was answered %d", status)
	}
	h.sql(capability.Legacy, `INSERT INTO orders (note) VALUES ('goes on')`)
	s := h.status()
	if a := s.Effective.Attempt; a == nil || a.Outcome != capability.Undone || s.Effective.Owner != capability.Legacy || s.Effective.Phase != capability.Steady {
		t.Errorf("attempt %+v, state %+v", a, s.Effective)
	}
	if legacy, extracted := s.Data.Gates[capability.Legacy], s.Data.Gates[capability.Extracted]; legacy.State != capability.Open || extracted.State != capability.Sealed {
		t.Errorf("gates %+v, %+v", legacy, extracted)
	}
	h.must(blocker.Rollback(t.Context()))
	h.types("cutover", "undrained")
	if n := h.same(`SELECT row(id, note)::text FROM public.orders`, `SELECT row(id, note)::text FROM public.orders`); n != 2 {
		t.Errorf("%d rows", n)
	}
}
