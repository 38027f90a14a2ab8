package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"strangler/capability"
	"strangler/migrate"
)

// TestALostSnapshotIsToldFromALostConnection: only the first makes a backfill
// start over.
func TestALostSnapshotIsToldFromALostConnection(t *testing.T) {
	t.Parallel()
	m := newMigration(t, shop, shopData())
	d := m.databases[capability.Legacy]
	orders := migrate.Relation{Schema: "public", Name: "orders"}
	snapshot, err := d.TemporarySnapshot(t.Context())
	m.must(err)
	read := func(ctx context.Context, name string) (int64, error) {
		return d.ReadChunk(ctx, io.Discard, name, orders, []string{"id"}, migrate.Chunk{High: migrate.LastBlock})
	}
	if n, err := read(t.Context(), snapshot.Name); n != 3000 || err != nil {
		t.Errorf("%d rows, %v", n, err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := read(ended, snapshot.Name); err == nil || errors.Is(err, migrate.ErrSnapshotLost) {
		t.Errorf("after a pause: %v", err)
	}
	// What a pause or an administrator cancels on the server is no lost snapshot either.
	if err := fmt.Errorf("read: %w", &pgconn.PgError{Code: "57014"}); slices.Contains(snapshotGone, sqlstate(err)) {
		t.Error("a cancelled statement is taken for a lost snapshot")
	}
	m.must(snapshot.Close())
	m.eventually("the snapshot is gone", func() (bool, string) {
		_, err := read(t.Context(), snapshot.Name)
		return errors.Is(err, migrate.ErrSnapshotLost), fmt.Sprint(err)
	})
}
