package postgres

import (
	"fmt"
	"testing"

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
