package postgres

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"strangler/capability"
)

// accounts is a legacy table that the service has divided into persons and places.
const accounts = `
	CREATE TABLE accounts (id bigserial PRIMARY KEY, email text NOT NULL UNIQUE, name text NOT NULL, note text, street text NOT NULL, city text, since date, legacy_only text DEFAULT 'kept');
	ALTER TABLE accounts ALTER note SET STORAGE EXTERNAL, ALTER street SET STORAGE EXTERNAL;
	CREATE INDEX ON accounts (city, id);
	CREATE TABLE invoices (id bigserial PRIMARY KEY, account bigint NOT NULL REFERENCES accounts, cents int NOT NULL);
	INSERT INTO accounts (email, name, note, street, city, since) SELECT 'c' || n, 'N' || n, CASE n % 3 WHEN 0 THEN repeat('note', 1000) WHEN 1 THEN E'tab\t\\N' END, repeat('s', 1 + n % 7 * 500), 'C' || n % 10, '2020-01-01'::date + n FROM generate_series(1, 2000) n;
	INSERT INTO invoices (account, cents) SELECT id, id * 3 FROM accounts;`

// accountsData divides accounts; invoices refer to it.
func accountsData() *capability.Data {
	return &capability.Data{State: capability.DataRunning, Gap: 10000, TableLine: 7, Tables: []capability.Table{
		{Table: "accounts", As: "persons", Line: 8, Omit: []string{"street", "city", "since", "legacy_only"}},
		{Table: "invoices", Line: 9},
		{Table: "accounts", As: "places", Line: 10, Omit: []string{"email", "name", "note", "since", "legacy_only"}, Columns: map[string]string{"id": "person", "city": "town"},
			Computed: []capability.Computed{{Column: "year", Forward: "since - '2000-01-01'::date", Line: 11, Reverse: []capability.Reverse{{Column: "since", SQL: "'2000-01-01'::date + year"}}},
				{Column: "origin", Constant: "legacy", Line: 12}}},
	}}
}

// dividesExactly compares accounts with the join of its parts, by queries of its own.
func (m *migration) dividesExactly() {
	m.t.Helper()
	const digest = `SELECT count(*) || ' ' || coalesce(md5(string_agg(format('%%s|%%L|%%L|%%L|%%L|%%L|%%L', id, email, name, note, street, city, since), ',' ORDER BY id)), '') FROM (%s) t`
	legacy := ask[string](m, capability.Legacy, fmt.Sprintf(digest, `TABLE accounts`))
	extracted := ask[string](m, capability.Extracted, fmt.Sprintf(digest, `SELECT p.*, l.street, l.town AS city, '2000-01-01'::date + l.year AS since FROM persons p FULL JOIN places l ON l.person = p.id`))
	if legacy != extracted {
		m.t.Errorf("accounts are %s, persons and places %s", legacy, extracted)
	}
}

// both writes what the service writes of one account, in one transaction.
func both(person, place string) string { return "BEGIN; " + person + "; " + place + "; COMMIT;" }

// TestATableIsDivided between two, there and back, and both ways again.
func TestATableIsDivided(t *testing.T) { inEachCapture(t, testATableIsDivided) }

func testATableIsDivided(t *testing.T, kind capability.Capture) {
	m := newMigration(t, kind, accounts, accountsData()).created()
	_, problems, err := m.Plan(t.Context())
	m.must(err)
	if len(problems) > 0 {
		t.Fatalf("stands against it: %v", problems)
	}
	end := m.follows(m.Mover)
	m.dividesExactly()
	m.exec(capability.Extracted, `ALTER TABLE invoices DROP CONSTRAINT invoices_account_fkey`)
	if v := m.verify(capability.Legacy, 0); v.Rows != 3*2000 {
		t.Errorf("compared %d rows", v.Rows)
	}
	legacyWrites := func(from int) string {
		return fmt.Sprintf(`
		UPDATE accounts SET name = 'changed' WHERE id BETWEEN %[1]d AND %[1]d + 20; -- large notes and streets are left alone
		UPDATE accounts SET street = 'new', note = NULL WHERE id BETWEEN %[1]d + 10 AND %[1]d + 30;
		UPDATE accounts SET id = id + 100000 WHERE id BETWEEN %[1]d + 40 AND %[1]d + 45;
		INSERT INTO accounts (email, name, street, since) SELECT 'n' || n + %[1]d, 'new', 's', '2024-02-29' FROM generate_series(1, 20) n;
		DELETE FROM accounts WHERE id BETWEEN %[1]d + 50 AND %[1]d + 60;
		UPDATE accounts SET legacy_only = 'mine' WHERE id BETWEEN %[1]d + 70 AND %[1]d + 80`, from)
	}
	m.exec(capability.Legacy, `ALTER TABLE invoices DROP CONSTRAINT invoices_account_fkey;`+legacyWrites(100))
	m.settled(capability.Legacy)
	m.verify(capability.Legacy, 0)
	m.dividesExactly()

	m.switchTo(capability.Extracted)
	if err := m.try(capability.Legacy, `UPDATE accounts SET name = 'x' WHERE id = 1`); err == nil {
		t.Error("the legacy table takes writes")
	}
	m.exec(capability.Extracted, `
		UPDATE persons SET name = 'served' WHERE id BETWEEN 300 AND 320; UPDATE places SET town = 'served', year = year + 1 WHERE person BETWEEN 310 AND 330;
		BEGIN; INSERT INTO persons (id, email, name) SELECT n, 'p' || n, 'bulk' FROM generate_series(200001, 200500) n; INSERT INTO places (person, street, year, origin) SELECT n, repeat('t', 3000), n - 200000, 'service' FROM generate_series(200001, 200500) n; COMMIT;
		BEGIN; DELETE FROM places WHERE person BETWEEN 400 AND 450; DELETE FROM persons WHERE id BETWEEN 400 AND 450; COMMIT;
		BEGIN; UPDATE persons SET id = id + 100000 WHERE id BETWEEN 500 AND 540; UPDATE places SET person = person + 100000 WHERE person BETWEEN 500 AND 540; COMMIT;
		BEGIN; DELETE FROM persons WHERE id = 600; INSERT INTO persons VALUES (600, 'saved', 'again', 'x'); COMMIT; -- as who saves by replacing
		BEGIN; DELETE FROM persons WHERE id = 601; DELETE FROM places WHERE person = 601; INSERT INTO places VALUES (601, 's', 't', 1, 'service'); INSERT INTO persons VALUES (601, 'anew', 'anew', 'x'); UPDATE places SET town = 'u' WHERE person = 601; COMMIT;
		BEGIN; INSERT INTO persons VALUES (700001, 'gone', 'gone'); DELETE FROM persons WHERE id = 700001; COMMIT;
		BEGIN; INSERT INTO persons VALUES (700002, 'half', 'x'); SAVEPOINT s; INSERT INTO places VALUES (700002, 's'); ROLLBACK TO s; DELETE FROM persons WHERE id = 700002; COMMIT;`+
		both(`INSERT INTO persons (email, name) VALUES ('own number', 'x')`, `INSERT INTO places (person, street) SELECT id, 's' FROM persons WHERE email = 'own number'`))
	m.settled(capability.Extracted)
	if v := m.verify(capability.Extracted, 0); v.Rows < 4000 {
		t.Errorf("compared %d rows", v.Rows)
	}
	m.dividesExactly()
	if kept := ask[string](m, capability.Legacy, `SELECT string_agg(DISTINCT legacy_only, ',') FROM accounts WHERE id BETWEEN 170 AND 180`); kept != "mine" {
		t.Errorf("a column that stays behind became %q", kept)
	}
	if kept := ask[string](m, capability.Legacy, `SELECT legacy_only FROM accounts WHERE id = 200007`); kept != "kept" {
		t.Errorf("a column that stays behind of a new row: %q", kept)
	}
	if own := ask[int64](m, capability.Legacy, `SELECT id FROM accounts WHERE email = 'own number'`); own <= 2020 {
		t.Errorf("the service drew number %d", own)
	}
	end() // and another process goes on
	m.Mover = m.mover(accountsData(), 2)
	m.follows(m.Mover)
	m.exec(capability.Extracted, `TRUNCATE invoices; BEGIN; TRUNCATE places; TRUNCATE persons; INSERT INTO persons (id, email, name) VALUES (7, 'after', 'x'), (8, 'and', 'y'); INSERT INTO places (person, street, year, origin) VALUES (8, 's', 1, 'legacy'), (7, 's', 2, 'legacy'); COMMIT`)
	m.settled(capability.Extracted)
	m.verify(capability.Extracted, 0)
	m.dividesExactly()
	if n := ask[int](m, capability.Legacy, `SELECT count(*)::int FROM accounts`); n != 2 {
		t.Errorf("%d accounts", n)
	}
	m.switchTo(capability.Legacy)
	m.exec(capability.Legacy, `INSERT INTO accounts (email, name, street, since) SELECT 'late' || n, 'x', repeat('y', 3000), '2021-01-01' FROM generate_series(1, 300) n; UPDATE accounts SET city = 'last' WHERE name = 'x'`)
	m.settled(capability.Legacy)
	m.verify(capability.Legacy, 0)
	m.dividesExactly()
}

// ledger is a partitioned legacy table that the service has divided into entries and
// remarks. Of one partition the columns are in another order.
const ledger = `
	CREATE TABLE ledger (id bigint NOT NULL, year int NOT NULL, amount bigint NOT NULL, label text NOT NULL DEFAULT 'l', memo text, legacy_only text DEFAULT 'kept', PRIMARY KEY (id, year)) PARTITION BY RANGE (year);
	ALTER TABLE ledger ALTER label SET STORAGE EXTERNAL, ALTER memo SET STORAGE EXTERNAL;
	CREATE TABLE ledger_old PARTITION OF ledger FOR VALUES FROM (MINVALUE) TO (2010);
	CREATE TABLE ledger_mid (memo text, gone int, year int NOT NULL, legacy_only text DEFAULT 'kept', id bigint NOT NULL, label text NOT NULL DEFAULT 'l', amount bigint NOT NULL);
	ALTER TABLE ledger_mid DROP gone;
	ALTER TABLE ledger ATTACH PARTITION ledger_mid FOR VALUES FROM (2010) TO (2020);
	CREATE TABLE ledger_new PARTITION OF ledger DEFAULT PARTITION BY HASH (id);
	CREATE TABLE ledger_new_0 PARTITION OF ledger_new FOR VALUES WITH (MODULUS 2, REMAINDER 0);
	CREATE TABLE ledger_new_1 PARTITION OF ledger_new FOR VALUES WITH (MODULUS 2, REMAINDER 1);
	INSERT INTO ledger (id, year, amount, label, memo) SELECT n, 2000 + n % 30, n, repeat('l', 1 + n % 4 * 800), CASE WHEN n % 3 > 0 THEN repeat('mä', 1 + n % 5 * 500) END FROM generate_series(1, 900) n;`

func ledgerData() *capability.Data {
	return &capability.Data{State: capability.DataRunning, Gap: 100, TableLine: 7, Tables: []capability.Table{
		{Table: "ledger", As: "entries", Line: 8, Omit: []string{"memo", "legacy_only"}, Columns: map[string]string{"year": "fiscal"}},
		{Table: "ledger", As: "remarks", Line: 9, Omit: []string{"amount", "label", "legacy_only"}, Columns: map[string]string{"id": "entry"}, Computed: []capability.Computed{{Column: "origin", Constant: "legacy", Line: 10}}},
	}}
}

func ledgerWrite(r *rand.Rand) string {
	id, year := r.IntN(1200)+1, 2000+r.IntN(30)
	switch r.IntN(7) {
	case 0, 1:
		return fmt.Sprintf(`UPDATE ledger SET amount = amount + 1 WHERE id = %d`, id)
	case 2: // to another partition, perhaps, without its large values
		return fmt.Sprintf(`UPDATE ledger SET year = %d WHERE id = %d`, year, id)
	case 3:
		return fmt.Sprintf(`UPDATE ledger SET memo = repeat('%c', %d), legacy_only = 'mine' WHERE id = %d`, 'a'+r.IntN(26), r.IntN(4000), id)
	case 4:
		return fmt.Sprintf(`UPDATE ledger SET label = repeat('%c', %d), year = %d WHERE id = %d`, 'a'+r.IntN(26), r.IntN(4000), year, id)
	case 5:
		return fmt.Sprintf(`DELETE FROM ledger WHERE id = %d`, id)
	default:
		return fmt.Sprintf(`INSERT INTO ledger (id, year, amount, memo) SELECT %d, %d, 1, repeat('n', %d) WHERE NOT EXISTS (SELECT FROM ledger WHERE id = %[1]d)`, id, year, r.IntN(3000))
	}
}

// entriesWrite is one transaction of the service, on both parts where it must be: one
// at a time, or two of them might each write half of a row.
func entriesWrite(r *rand.Rand) string {
	id, own, year := r.IntN(1200)+1, 100000+r.IntN(50), 2000+r.IntN(30)
	switch r.IntN(6) {
	case 0, 1:
		return fmt.Sprintf(`UPDATE entries SET amount = amount + 1 WHERE id IN (%d, %d)`, id, own)
	case 2:
		return fmt.Sprintf(`UPDATE remarks SET memo = repeat('%c', %d) WHERE entry IN (%d, %d)`, 'a'+r.IntN(26), r.IntN(4000), id, own)
	case 3: // another key, in both parts: the legacy row goes to another partition
		return fmt.Sprintf(`UPDATE entries SET fiscal = %[2]d WHERE id = %[1]d; UPDATE remarks SET year = %[2]d WHERE entry = %[1]d`, own, year)
	case 4:
		return fmt.Sprintf(`DELETE FROM remarks WHERE entry IN (%[1]d, %[2]d); DELETE FROM entries WHERE id IN (%[1]d, %[2]d)`, id, own)
	default:
		return fmt.Sprintf(`INSERT INTO entries (id, fiscal, amount) SELECT %[1]d, %[2]d, 1 WHERE NOT EXISTS (SELECT FROM entries WHERE id = %[1]d); INSERT INTO remarks (entry, year, memo) SELECT id, fiscal, repeat('t', %[3]d) FROM entries WHERE id = %[1]d AND NOT EXISTS (SELECT FROM remarks WHERE entry = %[1]d)`, own, year, r.IntN(3000))
	}
}

// TestAPartitionedTableIsDivided between two, which are partitioned as it is, or not, or
// otherwise: copied leaf by leaf under writes, while its snapshot is lost, followed both
// ways, verified and repaired.
func TestAPartitionedTableIsDivided(t *testing.T) { inEachCapture(t, testAPartitionedTableIsDivided) }

func testAPartitionedTableIsDivided(t *testing.T, kind capability.Capture) {
	const remarks = `CREATE TABLE remarks (entry bigint, year int, memo text, origin text NOT NULL DEFAULT 'service', PRIMARY KEY (entry, year))`
	for name, extracted := range map[string]string{
		"as it is made":    "",
		"into plain ones":  `CREATE TABLE entries (id bigint, fiscal int, amount bigint NOT NULL, label text NOT NULL DEFAULT 'l', PRIMARY KEY (id, fiscal)); ` + remarks,
		"into other parts": `CREATE TABLE entries (id bigint, fiscal int, amount bigint NOT NULL, label text NOT NULL DEFAULT 'l', PRIMARY KEY (id, fiscal)) PARTITION BY HASH (id); CREATE TABLE entries_0 PARTITION OF entries FOR VALUES WITH (MODULUS 2, REMAINDER 0); CREATE TABLE entries_1 PARTITION OF entries FOR VALUES WITH (MODULUS 2, REMAINDER 1); ` + remarks,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			data := ledgerData()
			data.Rate = 500
			m := newEvents(t, kind, ledger, extracted, data)
			if _, problems, err := m.Plan(t.Context()); err != nil || len(problems) > 0 {
				t.Fatalf("stands against it: %v, %v", problems, err)
			}
			exactly := func() {
				t.Helper()
				const digest = `SELECT count(*) || ' ' || md5(string_agg(format('%%s|%%s|%%s|%%L|%%L', id, year, amount, label, memo), ',' ORDER BY id, year)) FROM (%s) t`
				legacy, parts := ask[string](m, capability.Legacy, fmt.Sprintf(digest, `TABLE ledger`)), ask[string](m, capability.Extracted, fmt.Sprintf(digest, `SELECT id, e.fiscal AS year, amount, label, memo FROM entries e FULL JOIN remarks r ON r.entry = e.id AND r.year = e.fiscal`))
				if legacy != parts {
					t.Errorf("the ledger is %s, its parts %s", legacy, parts)
				}
			}
			m.chunkBytes, m.snapshotAge = 48<<10, 400*time.Millisecond
			m.Mover = m.mover(data, 1)
			stop := m.writing(capability.Legacy, ledgerWrite)
			end := m.start(m.Mover)
			m.copied(2)
			end() // as if it were killed
			m.Mover = m.mover(data, 2)
			end = m.follows(m.Mover)
			stop()
			m.settled(capability.Legacy)
			if v := m.verify(capability.Legacy, 0); v.Rows < 1000 {
				t.Errorf("compared %d rows", v.Rows)
			}
			exactly()
			if move := m.move(); move.Horizon <= move.Snapshot {
				t.Errorf("the backfill has had one snapshot: %+v", move)
			}
			m.switchTo(capability.Extracted)
			stop = m.writing(capability.Extracted, func(r *rand.Rand) string { return `SELECT pg_advisory_xact_lock(1); ` + entriesWrite(r) })
			m.eventually("extracted has written", func() (bool, string) {
				n := ask[int](m, capability.Extracted, `SELECT count(*)::int FROM entries WHERE id > 100000`)
				return n > 25, fmt.Sprint(n)
			})
			stop()
			m.settled(capability.Extracted)
			m.verify(capability.Extracted, 0)
			exactly()
			m.rogue(capability.Legacy, `UPDATE ledger SET memo = 'rogue', legacy_only = 'mine' WHERE id = (SELECT min(id) FROM ledger); DELETE FROM ledger WHERE id = (SELECT max(id) FROM ledger WHERE id < 100000)`)
			m.verify(capability.Extracted, 3)
			v, err := m.Repair(t.Context(), capability.Extracted, nil)
			m.must(err)
			if v.Count != 0 || v.Repaired != 2 {
				t.Errorf("repaired %d, still %d: %+v", v.Repaired, v.Count, v.Mismatches)
			}
			exactly()
			m.exec(capability.Extracted, `BEGIN; TRUNCATE entries; TRUNCATE remarks; INSERT INTO entries (id, fiscal, amount) SELECT n, 2000 + n, n FROM generate_series(1, 30) n; INSERT INTO remarks (entry, year, memo, origin) SELECT n, 2000 + n, 'm', 'legacy' FROM generate_series(1, 30) n; COMMIT`)
			m.settled(capability.Extracted)
			m.verify(capability.Extracted, 0)
			exactly()
			m.switchTo(capability.Legacy)
			m.exec(capability.Legacy, `UPDATE ledger SET year = 2015, label = 'last' WHERE id < 10`)
			m.exec(capability.Legacy, `TRUNCATE ledger; INSERT INTO ledger (id, year, amount) VALUES (7, 2011, 1)`)
			m.settled(capability.Legacy)
			m.verify(capability.Legacy, 0)
			exactly()
			end()
			m.must(m.Reset(t.Context(), false, nil))
		})
	}
}
