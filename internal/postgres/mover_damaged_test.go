package postgres

import (
	"fmt"
	"strings"
	"testing"

	"strangler/capability"
)

// unindexed writes rows that an index does not have, as one whose collation has changed
// under it does not find those it has.
func (m *migration) unindexed(side capability.Side, index, statement string) {
	m.t.Helper()
	m.exec(side, fmt.Sprintf(indexReady, "false", index))
	m.exec(side, statement)
	m.exec(side, fmt.Sprintf(indexReady, "true", index))
}

// indexReady says whether writers keep an index.
const indexReady = `SET allow_system_table_mods = on; UPDATE pg_index SET indisready = %s WHERE indexrelid = '%s'::regclass`

// TestDamagedIndexHidesNoRows: of a condition whose index does not find a row, the
// backfill and the verification find it.
func TestDamagedIndexHidesNoRows(t *testing.T) {
	t.Parallel()
	m := newMigration(t, capability.CaptureWAL, `
		CREATE TABLE parcels (id int PRIMARY KEY, region text NOT NULL, note text);
		INSERT INTO parcels SELECT n, 'r' || n % 500, repeat('x', 100) FROM generate_series(1, 20000) n;
		CREATE INDEX parcels_region ON parcels (region); ALTER TABLE parcels REPLICA IDENTITY FULL;`,
		&capability.Data{State: capability.DataRunning, Tables: []capability.Table{{Table: "parcels", Where: "region = 'r7'"}}})
	m.unindexed(capability.Legacy, "parcels_region", `INSERT INTO parcels VALUES (30001, 'r7', 'hidden'), (30002, 'r8', 'hidden')`)
	m.exec(capability.Legacy, `ANALYZE parcels`)
	if n := ask[int](m, capability.Legacy, `SELECT count(*) FROM parcels WHERE region = 'r7'`); n != 40 {
		t.Fatalf("the index is not damaged: %d rows", n)
	}
	m.created()
	m.follows(m.Mover)
	if n := ask[int](m, capability.Extracted, `SELECT count(*) FROM parcels`); n != 41 {
		t.Errorf("%d rows were copied", n)
	}
	m.verify(capability.Legacy, 0)
	m.rogue(capability.Extracted, `DELETE FROM parcels WHERE id = 30001`)
	m.verify(capability.Legacy, 1)
}

// TestRepairOfAJoinTrustsNoIndex of the second table's key either.
func TestRepairOfAJoinTrustsNoIndex(t *testing.T) {
	t.Parallel()
	m := joined(t, capability.CaptureWAL, folk, folkTo, folkData())
	m.exec(capability.Legacy, `DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET enable_hashjoin = off', current_database()); EXECUTE format('ALTER DATABASE %I SET enable_seqscan = off', current_database()); END $$`)
	m.follows(m.Mover)
	m.exec(capability.Extracted, `ALTER TABLE invoices DROP CONSTRAINT invoices_account_fkey`)
	m.unindexed(capability.Legacy, "places_pkey", `INSERT INTO persons (id, email, name) VALUES (70000, 'hidden', 'hidden'); INSERT INTO places (person, street, year) VALUES (70000, 'hidden', 1)`)
	m.settled(capability.Legacy)
	v, err := m.Repair(t.Context(), capability.Legacy, nil)
	if err == nil || !strings.Contains(err.Error(), `REINDEX TABLE public.places`) {
		t.Errorf("repaired by a damaged index: %v, %+v", err, v)
	}
	m.exec(capability.Legacy, `REINDEX TABLE places`)
	m.joinsExactly()
	v, err = m.Repair(t.Context(), capability.Legacy, nil)
	m.must(err)
	if v.Count+v.Repaired != 0 {
		t.Errorf("repaired: %+v", v)
	}
}

// TestRepairTrustsNoIndex: a row that the index of the source's key does not find is
// not deleted from the target.
func TestRepairTrustsNoIndex(t *testing.T) {
	t.Parallel()
	m := newMigration(t, capability.CaptureWAL, `
		CREATE TABLE parcels (id int PRIMARY KEY, note text);
		INSERT INTO parcels SELECT n, repeat('x', 100) FROM generate_series(1, 20000) n; ANALYZE parcels;`,
		&capability.Data{State: capability.DataRunning, Tables: []capability.Table{{Table: "parcels"}}}).created()
	m.follows(m.Mover)
	m.unindexed(capability.Legacy, "parcels_pkey", `INSERT INTO parcels VALUES (30001, 'hidden')`)
	m.settled(capability.Legacy)
	m.rogue(capability.Extracted, `INSERT INTO parcels VALUES (30002, 'surplus'); UPDATE parcels SET note = 'wrong' WHERE id = 5`)
	v, err := m.Repair(t.Context(), capability.Legacy, nil)
	if err == nil || !strings.Contains(err.Error(), `REINDEX TABLE public.parcels`) || !strings.Contains(err.Error(), "20001 rows are there and 20000 are found") {
		t.Errorf("repaired by a damaged index: %v, %+v", err, v)
	}
	if n := ask[int](m, capability.Extracted, `SELECT count(*) FROM parcels WHERE note IN ('hidden', 'surplus', 'wrong')`); n != 3 {
		t.Errorf("%d rows are left as they were", n)
	}
	m.exec(capability.Legacy, `REINDEX TABLE parcels`)
	v, err = m.Repair(t.Context(), capability.Legacy, nil)
	m.must(err)
	if v.Count != 0 || v.Repaired != 2 {
		t.Errorf("repaired: %+v", v)
	}
	if n := ask[int](m, capability.Extracted, `SELECT count(*) FROM parcels WHERE note = 'hidden'`); n != 1 {
		t.Error("the row is lost")
	}
}

// TestRepairWritesNoRowTwice: a row that the index of the target's key does not find is
// neither written beside itself nor left alone.
func TestRepairWritesNoRowTwice(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		key     string
		refused bool // by the order of a number the index is read
	}{{"text", false}, {"int", true}} {
		t.Run(test.key, func(t *testing.T) {
			t.Parallel()
			m := newMigration(t, capability.CaptureWAL, `CREATE TABLE parcels (code `+test.key+` PRIMARY KEY, note text);
				INSERT INTO parcels SELECT n, repeat('x', 100) FROM generate_series(1, 20000) n;`,
				&capability.Data{State: capability.DataRunning, Tables: []capability.Table{{Table: "parcels"}}}).created()
			m.exec(capability.Extracted, `DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET enable_hashjoin = off', current_database()); EXECUTE format('ALTER DATABASE %I SET enable_mergejoin = off', current_database()); END $$`)
			m.databases[capability.Extracted].pool.Reset()
			m.follows(m.Mover)
			m.exec(capability.Extracted, `ANALYZE parcels`)
			m.rogue(capability.Extracted, `DELETE FROM parcels WHERE code = '77'`)
			m.exec(capability.Extracted, fmt.Sprintf(indexReady, "false", "parcels_pkey"))
			m.rogue(capability.Extracted, `INSERT INTO parcels VALUES ('77', 'wrong')`)
			m.exec(capability.Extracted, fmt.Sprintf(indexReady, "true", "parcels_pkey"))
			v, err := m.Repair(t.Context(), capability.Legacy, nil)
			if test.refused {
				if err == nil || !strings.Contains(err.Error(), `REINDEX TABLE public.parcels`) {
					t.Errorf("repaired by a damaged index: %v", err)
				}
				m.exec(capability.Extracted, `REINDEX TABLE parcels`)
				v, err = m.Repair(t.Context(), capability.Legacy, nil)
			}
			m.must(err)
			if v.Count != 0 || v.Repaired != 1 {
				t.Errorf("repaired: %+v", v)
			}
			m.bytewiseAsNamed("parcels")
		})
	}
}
