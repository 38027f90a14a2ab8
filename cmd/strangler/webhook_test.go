package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"strangler/capability"
)

// TestWebhooks: an application that says no keeps its data where it is; one that says
// yes is told of the new owner, there and back.
func TestWebhooks(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("needs PostgreSQL")
	}
	var mu sync.Mutex
	var told []string
	busy := true
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var a capability.Announcement
		if err := json.NewDecoder(r.Body).Decode(&a); err != nil {
			t.Error(err)
		}
		mu.Lock()
		defer mu.Unlock()
		told = append(told, fmt.Sprintf("%s %s %d", a.Event, a.Owner, a.Epoch))
		if a.Event == capability.Before && busy {
			http.Error(w, "a batch runs until noon", http.StatusConflict)
		}
	}))
	defer hook.Close()
	heard := func() []string {
		mu.Lock()
		defer mu.Unlock()
		list := slices.Clone(told)
		told = nil
		return list
	}
	h := newHouse(t, "told", fmt.Sprintf("  tables:\n    - table: orders\nwebhooks: {before: ['%[1]s/hook?token=geheim'], after: ['%[1]s/hook?token=geheim']}\n", hook.URL))
	h.sql(capability.Legacy, `CREATE TABLE orders (id bigserial PRIMARY KEY, note text); INSERT INTO orders (note) VALUES ('one')`)
	h.types("data", "plan", "told", "--create")
	h.down = h.up()
	h.types("data", "start", "told")
	h.types("data", "verify", "told")
	out, status := h.try("cutover", "told")
	if status == 0 || !strings.Contains(out, "409 Conflict a batch runs until noon") || strings.Contains(out, "geheim") {
		t.Errorf("exit status %d\n%s", status, out)
	}
	if s := h.status(); s.Effective.Owner != capability.Legacy || s.Data.Gates[capability.Legacy].State != capability.Open {
		t.Errorf("a no, and something was switched: %+v", s)
	}
	if got := heard(); len(got) == 0 || got[0] != "before legacy 1" || slices.ContainsFunc(got[1:], func(s string) bool { return s != "after legacy 1" }) {
		t.Errorf("told %q", got)
	}
	mu.Lock()
	busy = false
	mu.Unlock()
	for _, verb := range []string{"cutover", "rollback"} {
		h.types(verb, "told")
		s := h.status()
		want := fmt.Sprintf("after %s %d", s.Effective.Owner, s.Effective.Epoch)
		var got []string
		for deadline := time.Now().Add(20 * time.Second); !slices.Contains(got, want) && time.Now().Before(deadline); {
			got = append(got, heard()...)
		}
		asked := slices.IndexFunc(got, func(one string) bool { return strings.HasPrefix(one, "before "+string(s.Effective.Owner.Other())) })
		if asked < 0 || slices.Index(got, want) < asked {
			t.Errorf("%s: told %q, want %q", verb, got, want)
		}
	}
	if out := h.types("log", "told"); !strings.Contains(out, "a batch runs until noon") || strings.Contains(out, "geheim") {
		t.Errorf("the log:\n%s", out)
	}
}
