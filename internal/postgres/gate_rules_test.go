package postgres

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"strangler/capability"
)

const hour = time.Hour

// A rule is a scenario that the gate's SQL survives, and the pieces without
// which it does not: each piece is needed.
type rule struct {
	name      string
	holds     func(w *world) error // nil: nothing was lost or forked
	mutations map[string]func(string) string
}

var rules = []rule{
	{
		name: "1 a controller that slept cannot seal with an old drain", holds: sleptThroughAnAttempt,
		mutations: map[string]func(string) string{"seal names its closing": replacing("AND epoch = closing AND lease_until", "AND lease_until")},
	},
	{
		name: "1 closing compares the epoch", holds: closesWithAnOldReading,
		mutations: map[string]func(string) string{"closing compares": without("OR g.epoch <> expected ")},
	},
	{
		name: "2 a late controller's open fails its compare", holds: opensLate,
		mutations: map[string]func(string) string{"opening compares": without("AND epoch = expected AND next > expected")},
	},
	{
		name: "3 a writer that finds the lease over opens the gate durably", holds: sealsAfterTheLease,
		mutations: map[string]func(string) string{
			"the guard opens": replacing("SET state = 'open', epoch = g.epoch + 1, since = clock_timestamp(), lease_until = NULL\n\t\t\tWHERE capability = cap;", "SET since = since WHERE false;"),
		},
	},
	{
		name: "4 read committed", holds: oldSnapshot(pgx.ReadCommitted),
		mutations: map[string]func(string) string{"refusal": replacing("RAISE EXCEPTION USING ERRCODE = 'P0S01'", "RAISE NOTICE USING ERRCODE = 'P0S01'")},
	},
	{name: "4 repeatable read", holds: oldSnapshot(pgx.RepeatableRead), mutations: permitUnlocked},
	{name: "4 serializable", holds: oldSnapshot(pgx.Serializable), mutations: permitUnlocked},
	{
		name: "5 only the mover passes", holds: impostors,
		mutations: map[string]func(string) string{
			"session_user": without("session_user = g.mover AND "),
			"the epoch":    replacing("pass = cap || ':' || g.epoch", "pass LIKE cap || ':%'"),
			"the setting":  without(" AND pass = cap || ':' || g.epoch"),
		},
	},
	{
		name: "6 a reopening commits durably", holds: reopensAsynchronously,
		mutations: map[string]func(string) string{"synchronous_commit": without("PERFORM set_config('synchronous_commit', 'on', true);")},
	},
	{
		name: "6 opening wants the databases it began with", holds: opensAfterRestore,
		mutations: map[string]func(string) string{
			"own timeline": without("AND self_timeline = ('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::int"),
			"own system":   without("AND self_system = (SELECT system_identifier::text FROM pg_control_system())"),
			"peer":         without("AND peer_system = peer AND peer_timeline = peer_line"),
		},
	},
}

var permitUnlocked = map[string]func(string) string{
	"the lock": replacing("IF g.state = 'open' THEN\n\t\tSELECT * INTO g FROM strangler.gate WHERE capability = cap FOR SHARE;", "IF g.state = 'open' THEN"),
}

func TestGateRules(t *testing.T) {
	t.Parallel()
	for _, r := range rules {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			if err := r.holds(newWorld(t, nil)); err != nil {
				t.Errorf("the gate is broken: %v", err)
			}
			for piece, mutate := range r.mutations {
				if err := r.holds(newWorld(t, mutate)); err == nil {
					t.Errorf("nothing is lost without %q: the scenario proves nothing", piece)
				}
			}
		})
	}
}

func sleptThroughAnAttempt(w *world) error {
	ctx := w.t.Context()
	w.must(w.Close(ctx, capability.Legacy, 1, 2, hour, "first"))
	w.expire(capability.Legacy)
	if _, err := w.app(capability.Legacy).Exec(ctx, insert); err != nil { // reopens at epoch 3: behind the first marker
		return err
	}
	w.must(w.Close(ctx, capability.Legacy, 3, 4, hour, "second"))
	if err := w.Seal(ctx, capability.Legacy, 2); !errors.Is(err, capability.ErrGate) {
		return fmt.Errorf("sealed by the drain of the first attempt, with a write behind it: %v", err)
	}
	return nil
}

func closesWithAnOldReading(w *world) error {
	ctx := w.t.Context()
	w.must(w.Close(ctx, capability.Legacy, 1, 2, hour, ""))
	w.must(w.Open(ctx, capability.Legacy, 2, 3))
	if err := w.Close(ctx, capability.Legacy, 1, 4, hour, ""); !errors.Is(err, capability.ErrGate) {
		return fmt.Errorf("closed on a reading two changes old: %v", err)
	}
	return nil
}

func opensLate(w *world) error {
	ctx := w.t.Context()
	w.must(w.Close(ctx, capability.Legacy, 1, 2, hour, ""))
	w.must(w.Seal(ctx, capability.Legacy, 2))
	// The first controller stalls here, about to open extracted@0 as 4.
	w.must(w.Open(ctx, capability.Extracted, 0, 4))
	w.must(w.Close(ctx, capability.Extracted, 4, 5, hour, ""))
	w.must(w.Seal(ctx, capability.Extracted, 5))
	w.must(w.Open(ctx, capability.Legacy, 3, 7))
	late := w.Open(ctx, capability.Extracted, 0, 4)
	if w.gate(capability.Legacy).State == capability.Open && w.gate(capability.Extracted).State == capability.Open {
		return errors.New("both gates are open")
	}
	if !errors.Is(late, capability.ErrGate) {
		return fmt.Errorf("the late opening said %v", late)
	}
	return nil
}

func sealsAfterTheLease(w *world) error {
	ctx := w.t.Context()
	w.must(w.Close(ctx, capability.Legacy, 1, 2, hour, ""))
	w.expire(capability.Legacy)
	app := w.app(capability.Legacy)
	tx, err := app.Begin(ctx)
	w.must(err)
	if _, err := tx.Exec(ctx, insert); err != nil {
		return err
	}
	// The clock jumps back by an hour: for the sealing, the lease stands again.
	jumped := make(chan error, 1)
	clock := w.mover(capability.Legacy, "")
	go func() {
		_, err := clock.Exec(ctx, `UPDATE strangler.gate SET lease_until = clock_timestamp() + interval '1 hour'`)
		jumped <- err
	}()
	w.blocked(capability.Legacy, clock.PgConn().PID())
	w.must(tx.Commit(ctx))
	w.must(<-jumped)
	if err := w.Seal(ctx, capability.Legacy, 2); !errors.Is(err, capability.ErrGate) {
		return fmt.Errorf("sealed although a write went in behind the marker: %v", err)
	}
	return nil
}

func oldSnapshot(level pgx.TxIsoLevel) func(w *world) error {
	return func(w *world) error {
		ctx := w.t.Context()
		tx, err := w.app(capability.Legacy).BeginTx(ctx, pgx.TxOptions{IsoLevel: level})
		w.must(err)
		_, err = tx.Exec(ctx, `SELECT 1 FROM pg_class`) // the snapshot is from before the closing
		w.must(err)
		w.must(w.Close(ctx, capability.Legacy, 1, 2, hour, ""))
		w.must(w.Seal(ctx, capability.Legacy, 2))
		_, err = tx.Exec(ctx, insert)
		if err == nil {
			err = tx.Commit(ctx)
		}
		want := "40001"
		if level == pgx.ReadCommitted {
			want = "P0S01"
		}
		if w.rows(capability.Legacy) != 0 || code(err) != want {
			return fmt.Errorf("%d rows in a sealed table, error %v, want %s", w.rows(capability.Legacy), err, want)
		}
		return nil
	}
}

func impostors(w *world) error {
	ctx := w.t.Context()
	app := w.app(capability.Extracted)
	for _, setting := range []string{"", "orders:0", "orders:1"} {
		if _, err := app.Exec(ctx, `SELECT set_config('strangler.mover', $1, false)`, setting); err != nil {
			return err
		}
		if _, err := app.Exec(ctx, insert); code(err) != "P0S01" {
			return fmt.Errorf("the application wrote into a sealed table with the setting %q: %v", setting, err)
		}
	}
	for _, pass := range []string{"", "orders:7", "other:0"} {
		if _, err := w.mover(capability.Extracted, pass).Exec(ctx, insert); code(err) != "P0S01" {
			return fmt.Errorf("the mover's role wrote with the pass %q: %v", pass, err)
		}
	}
	if _, err := w.mover(capability.Extracted, "orders:0").Exec(ctx, insert); err != nil {
		return fmt.Errorf("the mover does not pass: %w", err)
	}
	return nil
}

func reopensAsynchronously(w *world) error {
	ctx := w.t.Context()
	w.must(w.Close(ctx, capability.Legacy, 1, 2, hour, ""))
	w.expire(capability.Legacy)
	app := w.app(capability.Legacy)
	_, err := app.Exec(ctx, `SET synchronous_commit = off`)
	w.must(err)
	tx, err := app.Begin(ctx)
	w.must(err)
	_, err = tx.Exec(ctx, insert)
	w.must(err)
	var level string
	w.must(tx.QueryRow(ctx, `SHOW synchronous_commit`).Scan(&level))
	w.must(tx.Commit(ctx))
	if level != "on" {
		return fmt.Errorf("the gate is opened with synchronous_commit %s", level)
	}
	return nil
}

func opensAfterRestore(w *world) error {
	ctx := w.t.Context()
	w.must(w.Close(ctx, capability.Legacy, 1, 2, hour, ""))
	w.must(w.Seal(ctx, capability.Legacy, 2))
	for _, changed := range []string{"self_timeline = self_timeline + 1", "self_system = '1'", "peer_system = '1'", "peer_timeline = peer_timeline + 1"} {
		w.exec(capability.Extracted, `CREATE TABLE IF NOT EXISTS kept AS TABLE strangler.gate; UPDATE strangler.gate SET `+changed)
		if err := w.Open(ctx, capability.Extracted, 0, 4); !errors.Is(err, capability.ErrGate) {
			return fmt.Errorf("opened although %s: %v", changed, err)
		}
		w.exec(capability.Extracted, `DELETE FROM strangler.gate; INSERT INTO strangler.gate TABLE kept`)
	}
	w.must(w.Open(ctx, capability.Extracted, 0, 4))
	return nil
}
