package postgres

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"

	"strangler/capability"
	switchmodel "strangler/controller/model"
)

// at are the gates that a statement or a writer may meet.
var at = []switchmodel.Gate{
	{State: capability.Open, Guarded: false},
	{State: capability.Open, Guarded: true},
	{State: capability.Closing, Guarded: true},
	{State: capability.Closing, Guarded: true, Over: true},
	{State: capability.Sealed, Guarded: true},
}

// become makes legacy's gate what a gate of the model is.
func (w *world) become(g switchmodel.Gate) {
	w.t.Helper()
	lease := map[bool]string{true: "clock_timestamp() - interval '1 s'", false: "clock_timestamp() + interval '1 hour'"}[g.Over]
	if g.State != capability.Closing {
		lease = "NULL"
	}
	guards := map[bool]string{true: "ENABLE ALWAYS", false: "DISABLE"}[g.Guarded]
	line := "(pg_control_checkpoint()).timeline_id"
	if g.Strange {
		line += " + 1"
	}
	_, err := w.databases[capability.Legacy].pool.Exec(w.t.Context(), fmt.Sprintf(`UPDATE strangler.gate SET state = '%s', epoch = %d, lease_until = %s, self_timeline = %s;
		ALTER TABLE public.orders %s TRIGGER strangler_guard, %s TRIGGER strangler_guard_truncate`, g.State, g.Epoch, lease, line, guards, guards), pgx.QueryExecModeSimpleProtocol)
	w.must(err)
}

// is says whether legacy's gate is what a gate of the model is.
func (w *world) is(g switchmodel.Gate) error {
	is := w.gate(capability.Legacy)
	var guarded bool
	w.must(w.databases[capability.Legacy].pool.QueryRow(w.t.Context(),
		`SELECT tgenabled <> 'D' FROM pg_trigger WHERE tgname = 'strangler_guard' AND tgrelid = 'public.orders'::regclass`).Scan(&guarded))
	if is.State != g.State || is.Epoch != g.Epoch || guarded != g.Guarded {
		return fmt.Errorf("the gate is %s@%d, guarded %v, and in the model %s@%d, %v", is.State, is.Epoch, guarded, g.State, g.Epoch, g.Guarded)
	}
	return nil
}

// send sends a statement of the model to legacy.
func (w *world) send(s switchmodel.Statement, from, to uint64) switchmodel.Answer {
	var err error
	switch s {
	case switchmodel.Close:
		err = w.Close(w.t.Context(), capability.Legacy, from, to, hour, "a marker")
	case switchmodel.Seal:
		err = w.Seal(w.t.Context(), capability.Legacy, from)
	case switchmodel.Open:
		err = w.Open(w.t.Context(), capability.Legacy, from, to)
	case switchmodel.SealOpen:
		err = w.SealOpen(w.t.Context(), capability.Legacy, from, to)
	case switchmodel.Disable:
		err = w.Disable(w.t.Context(), capability.Legacy, from, guardTimeout)
	}
	switch {
	case err == nil:
		return switchmodel.Done
	case errors.Is(err, capability.ErrGate):
		return switchmodel.Refused
	case errors.Is(err, capability.ErrBusy) || locked(err):
		return switchmodel.Busy
	}
	w.t.Fatal(err)
	return ""
}

// TestTheModelsGateIsTheDatabases: what the model of a switch says of statements is
// what they do, at every gate, whichever epoch they expect, and with somebody at work.
func TestTheModelsGateIsTheDatabases(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	for _, g := range at {
		for _, writing := range []bool{false, true} {
			for _, strange := range []bool{false, true} {
				g.Epoch, g.Writing, g.Strange = 5, writing, strange
				if _, permitted := g.Write(nil, false); writing && !permitted {
					continue // nobody is
				}
				for _, s := range []switchmodel.Statement{switchmodel.Close, switchmodel.Seal, switchmodel.Open, switchmodel.SealOpen, switchmodel.Disable} {
					if strange && s != switchmodel.Open {
						continue
					}
					for _, from := range []uint64{5, 4, 6} {
						compareStatement(t, w, g, s, from)
					}
				}
			}
		}
	}
}

func compareStatement(t *testing.T, w *world, g switchmodel.Gate, s switchmodel.Statement, from uint64) {
	t.Helper()
	w.become(g)
	var busy *pgx.Conn
	if g.Writing {
		busy = w.app(capability.Legacy)
		for _, sql := range []string{"BEGIN", insert} {
			if _, err := busy.Exec(t.Context(), sql); err != nil {
				t.Fatal(err)
			}
		}
	}
	to := from + 1
	if s != switchmodel.Seal {
		to += 2
	}
	after, want := g.Change(s, from, to)
	got := w.send(s, from, to)
	if busy != nil {
		w.must(busy.Close(context.Background()))
	}
	if got != want {
		t.Errorf("%+v: %s, expecting %d: %s, and in the model %s", g, s, from, got, want)
	}
	if err := w.is(after); err != nil {
		t.Errorf("%+v: %s, expecting %d: %v", g, s, from, err)
	}
}

// TestTheModelsGuardIsTheDatabases: what it says of guards is what they say, to a
// statement with its own snapshot, and to one with that of its transaction.
func TestTheModelsGuardIsTheDatabases(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	for _, now := range at {
		now.Epoch = 7
		after, permitted := now.Write(nil, false)
		w.become(now)
		compareWrite(t, w, fmt.Sprintf("%+v", now), w.writes(pgx.ReadCommitted, nil), after, permitted)
		for _, before := range at {
			before.Epoch = 5
			after, permitted := now.Write(&before, true)
			w.become(before)
			code := w.writes(pgx.RepeatableRead, func() { w.become(now) })
			compareWrite(t, w, fmt.Sprintf("%+v, in a snapshot %+v", now, before), code, after, permitted)
		}
		after, permitted = now.Write(&now, false)
		w.become(now)
		compareWrite(t, w, fmt.Sprintf("%+v, in a snapshot of the same", now), w.writes(pgx.RepeatableRead, func() {}), after, permitted)
	}
}

// writes writes and commits, after something has happened that its snapshot does
// not show; it returns the code of the error.
func (w *world) writes(level pgx.TxIsoLevel, meanwhile func()) string {
	w.t.Helper()
	conn := w.app(capability.Legacy)
	defer conn.Close(context.Background()) //nolint:errcheck // test session
	tx, err := conn.BeginTx(w.t.Context(), pgx.TxOptions{IsoLevel: level})
	w.must(err)
	if meanwhile != nil {
		if _, err := tx.Exec(w.t.Context(), "SELECT FROM strangler.gate"); err != nil {
			w.t.Fatal(err)
		}
		meanwhile()
	}
	if _, err := tx.Exec(w.t.Context(), insert); err != nil {
		return code(err)
	}
	w.must(tx.Commit(w.t.Context()))
	return ""
}

func compareWrite(t *testing.T, w *world, what, code string, after switchmodel.Gate, permitted bool) {
	t.Helper()
	if code != "" && code != "P0S01" && code != "40001" || permitted != (code == "") {
		t.Errorf("%s: a write ends with %q, and in the model it is permitted: %v", what, code, permitted)
	}
	if err := w.is(after); err != nil {
		t.Errorf("%s: %v", what, err)
	}
}
