package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"strangler/capability"
	"strangler/internal/postgres/sqlstate"
	"strangler/migrate"
)

// TestALostSnapshotIsToldFromALostConnection: only the first makes a backfill
// take another one. It outlives the session that it was imported from.
func TestALostSnapshotIsToldFromALostConnection(t *testing.T) {
	t.Parallel()
	m := newMigration(t, capability.CaptureWAL, shop, shopData())
	d := m.databases[capability.Legacy]
	orders := migrate.Relation{Schema: "public", Name: "orders"}
	slots, err := d.TemporarySnapshot(t.Context())
	m.must(err)
	m.exec(capability.Legacy, `INSERT INTO orders (customer_id) VALUES (1)`)
	snapshot, err := d.OpenSnapshot(t.Context(), slots.Name)
	m.must(err)
	m.must(slots.Close())
	extents, err := d.Extents(t.Context(), orders)
	m.must(err)
	extent := extents[0]
	chunk := migrate.Chunk{High: migrate.LastBlock, File: extent.File}
	read := func(ctx context.Context, name string) (int64, error) {
		return d.ReadChunk(ctx, io.Discard, name, migrate.Columns(orders, "id"), chunk)
	}
	if n, err := read(t.Context(), snapshot.Name()); n != 3000 || err != nil {
		t.Errorf("%d rows, %v", n, err)
	}
	m.must(snapshot.Ping(t.Context()))
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := read(ended, snapshot.Name()); err == nil || errors.Is(err, migrate.ErrSnapshotLost) {
		t.Errorf("after a pause: %v", err)
	}
	// What a pause or an administrator cancels on the server is no lost snapshot either.
	if err := fmt.Errorf("read: %w", &pgconn.PgError{Code: "57014"}); slices.Contains(snapshotGone, sqlstate.Of(err)) {
		t.Error("a cancelled statement is taken for a lost snapshot")
	}
	if _, err := d.Extents(t.Context(), migrate.Relation{Schema: "public", Name: "gone"}); err == nil {
		t.Error("a table that is not there has a size")
	}
	m.exec(capability.Legacy, `VACUUM FULL orders`)
	if _, err := read(t.Context(), snapshot.Name()); !errors.Is(err, migrate.ErrRewritten) {
		t.Errorf("after every row has another place: %v", err)
	}
	m.exec(capability.Legacy, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'strangler snapshot' AND datname = current_database()`)
	m.eventually("the snapshot is gone", func() (bool, string) {
		_, err := read(t.Context(), snapshot.Name())
		return errors.Is(err, migrate.ErrSnapshotLost), fmt.Sprint(err)
	})
	if err := snapshot.Ping(t.Context()); err == nil {
		t.Error("a session that was ended gives a sign of life")
	}
}

// stalled is a reader's other end that takes nothing until it is let go.
type stalled chan struct{}

func (s stalled) Write(p []byte) (int, error) {
	<-s
	return len(p), nil
}

// TestAChunkGivesWayToAChangeOfTheTable: whoever waits for its lock gets it in
// some seconds, however long the copy would take.
func TestAChunkGivesWayToAChangeOfTheTable(t *testing.T) {
	t.Parallel()
	m := newMigration(t, capability.CaptureWAL, `CREATE TABLE wide (id int PRIMARY KEY, v text); INSERT INTO wide SELECT n, repeat('v', 7000) FROM generate_series(1, 15000) n`, shopData())
	d := m.databases[capability.Legacy]
	wide := migrate.Relation{Schema: "public", Name: "wide"}
	snapshot, err := d.OpenSnapshot(t.Context(), "")
	m.must(err)
	extents, err := d.Extents(t.Context(), wide)
	m.must(err)
	extent := extents[0]
	slow := make(stalled)
	done := make(chan error, 1)
	go func() {
		_, err := d.ReadChunk(t.Context(), slow, snapshot.Name(), migrate.Columns(wide, "id", "v"), migrate.Chunk{High: migrate.LastBlock, File: extent.File})
		done <- err
	}()
	m.eventually("the table is read", func() (bool, string) {
		return ask[bool](m, capability.Legacy, `SELECT EXISTS (SELECT FROM pg_locks WHERE relation = 'wide'::regclass AND mode = 'AccessShareLock' AND granted)`), ""
	})
	altered := make(chan error, 1)
	go func() {
		altered <- m.try(capability.Legacy, `SET application_name = 'migration'; ALTER TABLE wide ADD more int`)
	}()
	m.must(<-altered)
	close(slow)
	var yielded *migrate.YieldedError
	if err := <-done; !errors.As(err, &yielded) || !strings.Contains(err.Error(), "(migration)") {
		t.Errorf("got %v", err)
	}
	m.must(snapshot.Close())
}

// TestAChunkGivesWayWhileItWaitsForTheOtherTable: a chunk of two tables that become
// one has locked the first while it waits for the second, which somebody rewrites for
// long. Who wants to change the first meanwhile waits for a second or two.
func TestAChunkGivesWayWhileItWaitsForTheOtherTable(t *testing.T) {
	t.Parallel()
	m := newMigration(t, capability.CaptureWAL, `CREATE TABLE half (id int PRIMARY KEY, v text); CREATE TABLE other (id int PRIMARY KEY, w text)`, shopData())
	d := m.databases[capability.Legacy]
	half, other := migrate.Relation{Schema: "public", Name: "half"}, migrate.Relation{Schema: "public", Name: "other"}
	snapshot, err := d.OpenSnapshot(t.Context(), "")
	m.must(err)
	extents, err := d.Extents(t.Context(), half)
	m.must(err)
	rewriting := m.session(m.urls[capability.Legacy])
	_, err = rewriting.Exec(t.Context(), `BEGIN; LOCK TABLE other`)
	m.must(err)
	selection, with, key := migrate.Columns(half, "id", "v"), migrate.Columns(other, "w"), migrate.KeyColumn{Name: "id", Type: "integer"}
	selection.With, selection.On = &with, [][2]migrate.KeyColumn{{key, key}}
	done := make(chan error, 1)
	go func() {
		_, err := d.ReadChunk(t.Context(), io.Discard, snapshot.Name(), selection, migrate.Chunk{High: migrate.LastBlock, File: extents[0].File})
		done <- err
	}()
	m.eventually("the chunk waits for the other table", func() (bool, string) {
		return ask[bool](m, capability.Legacy, `SELECT EXISTS (SELECT FROM pg_locks WHERE relation = 'other'::regclass AND mode = 'AccessShareLock' AND NOT granted)`), ""
	})
	m.must(m.try(capability.Legacy, `SET application_name = 'migration'; SET lock_timeout = '30s'; ALTER TABLE half ADD more int`))
	var yielded *migrate.YieldedError
	if err := <-done; !errors.As(err, &yielded) || !strings.Contains(err.Error(), "(migration)") {
		t.Errorf("got %v", err)
	}
	_, err = rewriting.Exec(t.Context(), `COMMIT`)
	m.must(err)
	m.must(snapshot.Close())
}
