package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"strangler/capability"
)

// TestARehearsalChangesNoOwner: it shows the gap under real writes, none of which
// fails, and takes everything back; a gap that is too long gives up in the same way.
func TestARehearsalChangesNoOwner(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("needs PostgreSQL")
	}
	h := newHouse(t, "rehearsed", "  tables:\n    - table: orders\n")
	h.sql(capability.Legacy, `CREATE TABLE orders (id bigserial PRIMARY KEY, note text)`)
	h.types("data", "plan", "rehearsed", "--create")
	h.down = h.up()
	h.types("data", "start", "rehearsed")
	h.types("data", "verify", "rehearsed")

	writing, stop := context.WithCancel(t.Context())
	written := make(chan error, 1)
	var answered atomic.Int64
	go func() {
		for writing.Err() == nil {
			response, err := http.Post("http://"+h.clients+"/api/rehearsed/1", "text/plain", strings.NewReader("x"))
			if err != nil {
				written <- err
				return
			}
			_ = response.Body.Close()
			if response.StatusCode >= http.StatusInternalServerError {
				t.Errorf("a write was answered %d", response.StatusCode)
			}
			answered.Add(1)
		}
		written <- nil
	}()
	h.eventually("writes come", func(capability.Status) bool { return answered.Load() > 5 })

	legacyOwns := func(after string, outcome capability.Outcome) {
		t.Helper()
		s := h.status()
		if a := s.Effective.Attempt; a == nil || a.Outcome != outcome || s.Effective.Owner != capability.Legacy || s.Effective.Phase != capability.Steady || s.Desired.Owner != capability.Legacy || s.Effective.Weight != 0 {
			t.Errorf("after %s: attempt %+v, state %+v, wanted %+v", after, s.Effective.Attempt, s.Effective, s.Desired)
		}
		if legacy, extracted := s.Data.Gates[capability.Legacy], s.Data.Gates[capability.Extracted]; legacy.State != capability.Open || extracted.State != capability.Sealed {
			t.Errorf("after %s: gates %+v, %+v", after, legacy, extracted)
		}
		h.sql(capability.Legacy, `INSERT INTO orders (note) VALUES ('goes on')`)
	}
	out := h.types("cutover", "rehearsed", "--rehearse")
	for _, want := range []string{"rehearsed: writes of rehearsed waited for", "legacy still owns it", "↩ close", "↩ hold"} {
		if !strings.Contains(out, want) {
			t.Errorf("nothing of %q:\n%s", want, out)
		}
	}
	if strings.Contains(out, "seal") {
		t.Errorf("it went to the commit point:\n%s", out)
	}
	legacyOwns("the rehearsal", capability.Rehearsed)
	if out, status := h.try("cutover", "rehearsed", "--max-gap", "1us"); status == 0 || !strings.Contains(out, "writes would wait longer than 1µs") {
		t.Errorf("a gap of a microsecond: exit status %d\n%s", status, out)
	}
	legacyOwns("a gap of a microsecond", capability.Undone)
	if out, status := h.try("cutover", "rehearsed", "--max-gap", "1h"); status == 0 || !strings.Contains(out, "switch.gap") {
		t.Errorf("a gap of an hour: exit status %d\n%s", status, out)
	}
	if out := h.types("log", "rehearsed"); !strings.Contains(out, "rehearsal") {
		t.Errorf("the log has no rehearsal:\n%s", out)
	}

	// Somebody writes past the proxy.
	refusing, enough := context.WithCancel(t.Context())
	refused := make(chan int64, 1)
	go func() {
		var n int64
		for refusing.Err() == nil {
			_, err := h.pools[capability.Legacy].Exec(t.Context(), `SET application_name = 'nightly batch'; INSERT INTO orders (note) VALUES ('past the proxy')`)
			if err != nil && !strings.Contains(err.Error(), "is being switched") {
				t.Error(err)
			}
			if err != nil {
				n++
			}
		}
		refused <- n
	}()
	out = h.types("cutover", "rehearsed", "--rehearse")
	enough()
	n := <-refused
	s := h.status()
	if n == 0 || s.Effective.Attempt.Refused != n || s.Data.Refused[capability.Legacy].Count < n || !strings.Contains(out, fmt.Sprintf("refused %d writes", n)) || !strings.Contains(out, "nightly batch, ") {
		t.Errorf("%d writes past the proxy were refused; the attempt is %+v, and in all %v:\n%s", n, s.Effective.Attempt, s.Data.Refused, out)
	}
	if out := h.types("cutover", "rehearsed", "--dry-run", "--accept-refused"); !strings.Contains(out, "cutover now loses 0 rows; gap about ") {
		t.Errorf("a dry run does not tell what it would cost:\n%s", out)
	}
	if out := h.types("status", "rehearsed"); !strings.Contains(out, "has refused") || !strings.Contains(out, "nightly batch, ") {
		t.Errorf("the status does not show it:\n%s", out)
	}
	for range 2 { // it is not forgotten because somebody has asked
		if out, status := h.try("cutover", "rehearsed"); status == 0 || !strings.Contains(out, "--accept-refused; the last that were refused: nightly batch as ") {
			t.Errorf("after a rehearsal that saw writes refused: exit status %d\n%s", status, out)
		}
	}
	if out, status := h.try("cutover", "rehearsed", "--accept-refused", "--max-gap", "1us"); status == 0 || !strings.Contains(out, "1µs") {
		t.Errorf("accepted, with a gap of a microsecond: exit status %d\n%s", status, out)
	}
	if out, status := h.try("cutover", "rehearsed"); status == 0 || !strings.Contains(out, "--accept-refused; the last that were refused: nightly batch as ") {
		t.Errorf("after a switch that gave up: exit status %d\n%s", status, out)
	}
	h.types("cutover", "rehearsed", "--rehearse")
	h.types("cutover", "rehearsed")
	if s := h.status(); s.Effective.Owner != capability.Extracted {
		t.Errorf("after the cutover: %+v", s.Effective)
	}
	h.types("rollback", "rehearsed", "--rehearse")
	if s := h.status(); s.Effective.Owner != capability.Extracted || s.Effective.Attempt.Outcome != capability.Rehearsed || s.Effective.Weight != capability.Whole {
		t.Errorf("after the rehearsal of the way back: %+v", s.Effective)
	}
	stop()
	if err := <-written; err != nil && writing.Err() == nil {
		t.Error(err)
	}
}
