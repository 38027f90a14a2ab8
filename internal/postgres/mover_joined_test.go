package postgres

import (
	"fmt"
	"testing"

	"strangler/capability"
)

// folk are two legacy tables that the service has as one, and what refers to it.
const folk = `
	CREATE TABLE persons (id bigserial PRIMARY KEY, email text NOT NULL UNIQUE, name text NOT NULL, note text, legacy_only text DEFAULT 'kept');
	CREATE TABLE places (street text NOT NULL, person bigint PRIMARY KEY REFERENCES persons ON DELETE CASCADE, town text, year int, origin text DEFAULT 'legacy', CHECK (town <> 'nowhere'));
	ALTER TABLE persons ALTER note SET STORAGE EXTERNAL;
	ALTER TABLE places ALTER street SET STORAGE EXTERNAL;
	CREATE INDEX ON places (town, person);
	CREATE TABLE invoices (id bigserial PRIMARY KEY, account bigint NOT NULL REFERENCES persons, cents int NOT NULL);
	INSERT INTO persons (email, name, note) SELECT 'c' || n, 'N' || n, CASE n % 3 WHEN 0 THEN repeat('note', 1000) WHEN 1 THEN E'tab\t\\N' END FROM generate_series(1, 2000) n;
	INSERT INTO places (person, street, town, year) SELECT n, repeat('s', 1 + n % 7 * 500), 'C' || n % 10, n FROM generate_series(2000, 1, -1) n;
	INSERT INTO invoices (account, cents) SELECT id, id * 3 FROM persons;`

// folkTo is the service's table of them.
const folkTo = `
	CREATE SEQUENCE numbers;
	CREATE TABLE accounts (since date, id bigint PRIMARY KEY DEFAULT nextval('numbers'), email text NOT NULL UNIQUE, name text NOT NULL, note text, street text NOT NULL, city text, own text DEFAULT 'own', CHECK (city <> 'nowhere'));
	ALTER SEQUENCE numbers OWNED BY accounts.id;
	CREATE INDEX ON accounts (city, id);
	CREATE TABLE invoices (id bigserial PRIMARY KEY, account bigint NOT NULL REFERENCES accounts, cents int NOT NULL);`

// folkData makes one of persons and places; invoices refer to it.
func folkData() *capability.Data {
	return &capability.Data{State: capability.DataRunning, Gap: 10000, TableLine: 7, Tables: []capability.Table{
		{Table: "persons", As: "accounts", Line: 8, Omit: []string{"legacy_only"}},
		{Table: "invoices", Line: 9},
		{Table: "places", As: "accounts", Line: 10, Omit: []string{"origin"}, Columns: map[string]string{"person": "id", "town": "city"},
			Computed: []capability.Computed{{Column: "since", Forward: "'2000-01-01'::date + year", Line: 11, Reverse: []capability.Reverse{{Column: "year", SQL: "since - '2000-01-01'::date"}}}}},
	}}
}

// joinsExactly compares the join of persons and places with accounts, by queries of
// its own.
func (m *migration) joinsExactly() {
	m.t.Helper()
	const digest = `SELECT count(*) || ' ' || coalesce(md5(string_agg(format('%%s|%%L|%%L|%%L|%%L|%%L|%%L', id, email, name, note, street, city, since), ',' ORDER BY id)), '') FROM (%s) t`
	legacy := ask[string](m, capability.Legacy, fmt.Sprintf(digest, `SELECT p.*, l.street, l.town AS city, '2000-01-01'::date + l.year AS since FROM persons p FULL JOIN places l ON l.person = p.id`))
	extracted := ask[string](m, capability.Extracted, fmt.Sprintf(digest, `TABLE accounts`))
	if legacy != extracted {
		m.t.Errorf("persons and places are %s, accounts %s", legacy, extracted)
	}
}

// joined is a migration whose target is there.
func joined(t *testing.T, kind capability.Capture, legacy, to string, data *capability.Data) *migration {
	t.Helper()
	m := newMigration(t, kind, legacy, data)
	m.exec(capability.Extracted, to)
	return m
}

// TestTwoTablesBecomeOne, there and back, and both ways again.
func TestTwoTablesBecomeOne(t *testing.T) { inEachCapture(t, testTwoTablesBecomeOne) }

func testTwoTablesBecomeOne(t *testing.T, kind capability.Capture) {
	m := joined(t, kind, folk, folkTo, folkData())
	_, problems, err := m.Plan(t.Context())
	m.must(err)
	if len(problems) > 0 {
		t.Fatalf("stands against it: %v", problems)
	}
	end := m.follows(m.Mover)
	m.joinsExactly()
	m.exec(capability.Extracted, `ALTER TABLE invoices DROP CONSTRAINT invoices_account_fkey`)
	if v := m.verify(capability.Legacy, 0); v.Rows != 3*2000 {
		t.Errorf("compared %d rows", v.Rows)
	}
	m.exec(capability.Legacy, `
		ALTER TABLE invoices DROP CONSTRAINT invoices_account_fkey; ALTER TABLE places DROP CONSTRAINT places_person_fkey;
		UPDATE persons SET name = 'changed' WHERE id BETWEEN 100 AND 120; -- large notes and streets are left alone
		UPDATE places SET street = 'new', town = NULL WHERE person BETWEEN 110 AND 130; UPDATE persons SET note = NULL WHERE id BETWEEN 110 AND 130;
		BEGIN; INSERT INTO persons (id, email, name) SELECT n, 'p' || n, 'bulk' FROM generate_series(200001, 200500) n; INSERT INTO places (person, street, year) SELECT n, repeat('t', 3000), n - 200000 FROM generate_series(200001, 200500) n; COMMIT;
		BEGIN; DELETE FROM places WHERE person BETWEEN 400 AND 450; DELETE FROM persons WHERE id BETWEEN 400 AND 450; COMMIT;
		BEGIN; UPDATE persons SET id = id + 100000 WHERE id BETWEEN 500 AND 540; UPDATE places SET person = person + 100000 WHERE person BETWEEN 500 AND 540; COMMIT;
		BEGIN; DELETE FROM persons WHERE id = 600; INSERT INTO persons VALUES (600, 'saved', 'again', 'x'); COMMIT; -- as who saves by replacing
		BEGIN; DELETE FROM persons WHERE id = 601; DELETE FROM places WHERE person = 601; INSERT INTO places VALUES ('s', 601, 't', 1); INSERT INTO persons VALUES (601, 'anew', 'anew', 'x'); UPDATE places SET town = 'u' WHERE person = 601; COMMIT;
		BEGIN; INSERT INTO persons VALUES (700001, 'gone', 'gone'); DELETE FROM persons WHERE id = 700001; COMMIT;
		BEGIN; INSERT INTO persons VALUES (700002, 'half', 'x'); SAVEPOINT s; INSERT INTO places VALUES ('s', 700002); ROLLBACK TO s; DELETE FROM persons WHERE id = 700002; COMMIT;
		UPDATE persons SET legacy_only = 'mine' WHERE id BETWEEN 170 AND 180; UPDATE places SET origin = 'mine' WHERE person BETWEEN 170 AND 180;`)
	m.settled(capability.Legacy)
	m.verify(capability.Legacy, 0)
	m.joinsExactly()
	if own := ask[string](m, capability.Extracted, `SELECT own FROM accounts WHERE id = 200007`); own != "own" {
		t.Errorf("a column of the service's own of a new row: %q", own)
	}

	m.switchTo(capability.Extracted)
	for _, table := range []string{"persons", "places"} {
		if err := m.try(capability.Legacy, `DELETE FROM `+table); err == nil {
			t.Errorf("the legacy table %s takes writes", table)
		}
	}
	m.exec(capability.Extracted, `
		UPDATE accounts SET name = 'served' WHERE id BETWEEN 300 AND 320; UPDATE accounts SET city = 'served', since = since + 1, own = 'x' WHERE id BETWEEN 310 AND 330;
		UPDATE accounts SET id = id + 300000 WHERE id BETWEEN 340 AND 345;
		INSERT INTO accounts (email, name, street, since) SELECT 'n' || n, 'new', repeat('z', n * 300), '2024-02-29' FROM generate_series(1, 20) n;
		DELETE FROM accounts WHERE id BETWEEN 350 AND 360`)
	m.settled(capability.Extracted)
	if v := m.verify(capability.Extracted, 0); v.Rows < 4000 {
		t.Errorf("compared %d rows", v.Rows)
	}
	m.joinsExactly()
	if kept := ask[string](m, capability.Legacy, `SELECT string_agg(DISTINCT legacy_only || origin, ',') FROM persons JOIN places ON person = id WHERE id BETWEEN 170 AND 180`); kept != "minemine" {
		t.Errorf("columns that stay behind became %q", kept)
	}
	if own := ask[int64](m, capability.Extracted, `SELECT min(id) FROM accounts WHERE name = 'new'`); own <= 200500 {
		t.Errorf("the service drew number %d", own)
	}
	end() // and another process goes on
	m.Mover = m.mover(folkData(), 2)
	m.follows(m.Mover)
	m.exec(capability.Extracted, `TRUNCATE invoices; BEGIN; TRUNCATE accounts; INSERT INTO accounts (id, email, name, street) VALUES (7, 'after', 'x', 's'), (8, 'and', 'y', 's'); COMMIT`)
	m.settled(capability.Extracted)
	m.verify(capability.Extracted, 0)
	m.joinsExactly()
	m.switchTo(capability.Legacy)
	m.exec(capability.Legacy, both(`INSERT INTO persons (email, name) SELECT 'late' || n, 'x' FROM generate_series(1, 300) n`, `INSERT INTO places (person, street, year) SELECT id, repeat('y', 3000), 1 FROM persons WHERE email LIKE 'late%'`)+`UPDATE places SET town = 'last'`)
	m.exec(capability.Legacy, `BEGIN; TRUNCATE places; TRUNCATE persons; INSERT INTO persons (id, email, name) VALUES (9, 'end', 'x'); INSERT INTO places (person, street) VALUES (9, 's'); COMMIT`)
	m.settled(capability.Legacy)
	m.verify(capability.Legacy, 0)
	m.joinsExactly()
	if n := ask[int](m, capability.Extracted, `SELECT count(*)::int FROM accounts`); n != 1 {
		t.Errorf("%d accounts", n)
	}
}
