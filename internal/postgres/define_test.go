package postgres

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"strangler/capability"
	clusters "testbed/cluster"
)

// structureSQL dumps the structure of a database, one object a line. It is not
// made of the queries that it tests.
const structureSQL = `
	WITH c AS (SELECT c.*, n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast', 'strangler')
		AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = c.oid AND deptype = 'e'))
	SELECT string_agg(translate(line, E'\n', ' '), E'\n' ORDER BY line COLLATE "C") FROM (
		SELECT format('table %s %s with %s', c.oid::regclass, relkind, reloptions) AS line FROM c WHERE relkind = 'r'
		UNION ALL SELECT format('column %s.%I %s %s notnull %s identity %s generated %s default %s collate %s', c.oid::regclass, attname, attnum, format_type(atttypid, atttypmod), attnotnull, attidentity, attgenerated,
			pg_get_expr(adbin, adrelid), attcollation::regcollation) FROM c JOIN pg_attribute a ON attrelid = c.oid AND attnum > 0 AND NOT attisdropped
			LEFT JOIN pg_attrdef ON adrelid = c.oid AND adnum = attnum WHERE relkind IN ('r', 'c')
		UNION ALL SELECT format('constraint %s %I %s', CASE WHEN conrelid <> 0 THEN conrelid::regclass::text ELSE contypid::regtype::text END, conname, pg_get_constraintdef(k.oid))
			FROM pg_constraint k JOIN pg_namespace n ON n.oid = connamespace WHERE nspname NOT IN ('pg_catalog', 'information_schema') AND contype <> 't'
		UNION ALL SELECT 'index ' || pg_get_indexdef(c.oid) FROM c WHERE relkind = 'i'
		UNION ALL SELECT format('sequence %s %s %s %s %s %s %s %s owned by %s', c.oid::regclass, seqtypid::regtype, seqstart, seqincrement, seqmax, seqmin, seqcache, seqcycle,
			(SELECT string_agg(refobjid::regclass::text || refobjsubid || deptype::text, ',') FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = c.oid AND deptype IN ('a', 'i')))
			FROM c JOIN pg_sequence ON seqrelid = c.oid
		UNION ALL SELECT format('type %s %s base %s default %s notnull %s labels %s range %s', y.oid::regtype, typtype, format_type(typbasetype, typtypmod), pg_get_expr(typdefaultbin, 0), typnotnull,
			(SELECT array_agg(enumlabel ORDER BY enumsortorder) FROM pg_enum WHERE enumtypid = y.oid),
			(SELECT row(rngsubtype::regtype, rngmultitypid::regtype, rngcollation::regcollation, rngsubdiff)::text FROM pg_range WHERE rngtypid = y.oid AND rngsubdiff = 0))
			FROM pg_type y JOIN pg_namespace n ON n.oid = typnamespace WHERE nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast', 'strangler')
			AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_type'::regclass AND objid = y.oid AND deptype = 'e')
		UNION ALL SELECT 'function ' || pg_get_functiondef(f.oid) FROM pg_proc f JOIN pg_namespace n ON n.oid = pronamespace WHERE nspname NOT IN ('pg_catalog', 'information_schema', 'strangler')
			AND prokind = 'f' AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_proc'::regclass AND objid = f.oid AND deptype IN ('e', 'i'))
		UNION ALL SELECT format('extension %s %s in %s', extname, extversion, extnamespace::regnamespace) FROM pg_extension
		UNION ALL SELECT format('collation %s %s %s', l.oid::regcollation, collprovider, collisdeterministic) FROM pg_collation l JOIN pg_namespace n ON n.oid = collnamespace WHERE nspname <> 'pg_catalog'
	) s`

// contorted is a schema of everything that a table can be made of.
const contorted = `
	CREATE SCHEMA "Odd ""Schema"; CREATE SCHEMA extensions;
	CREATE EXTENSION btree_gist WITH SCHEMA extensions; CREATE EXTENSION citext; CREATE EXTENSION pg_trgm WITH SCHEMA extensions; CREATE EXTENSION hstore;
	CREATE COLLATION "Odd ""Schema".folded (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
	CREATE TYPE mood AS ENUM ('it''s fine', 'so "so"', 'bad\');
	CREATE FUNCTION "Odd ""Schema".even(n int) RETURNS boolean LANGUAGE sql IMMUTABLE AS $make$ SELECT n % 2 = 0 $make$;
	CREATE FUNCTION initials(t text) RETURNS text LANGUAGE plpgsql IMMUTABLE STRICT AS $$ BEGIN RETURN upper(left(t, 1)); END $$;
	CREATE FUNCTION atomic(n int) RETURNS int LANGUAGE sql IMMUTABLE BEGIN ATOMIC SELECT n + 1; END;
	CREATE DOMAIN posint AS int DEFAULT 2 CONSTRAINT positive CHECK (VALUE > 0);
	CREATE DOMAIN "Even" AS posint NOT NULL CONSTRAINT "is even" CHECK ("Odd ""Schema".even(VALUE)) CHECK (VALUE < 1000);
	CREATE DOMAIN tags AS text[] CHECK (array_length(VALUE, 1) < 10);
	CREATE DOMAIN plain AS varchar(10) COLLATE "C" DEFAULT 'x';
	CREATE TYPE place AS (street plain, "No" int, feelings mood[], folded text COLLATE "Odd ""Schema".folded);
	CREATE TYPE textrange AS RANGE (subtype = text, collation = "C", multirange_type_name = textranges);
	CREATE SEQUENCE "Odd ""Schema"."shared seq" AS int INCREMENT BY -3 MINVALUE -1000000 MAXVALUE 5 START WITH 5 CACHE 7 CYCLE;
	CREATE TABLE "Odd ""Schema"."select ON x USING ""y" (
		"user" bigint GENERATED ALWAYS AS IDENTITY (START WITH 7 INCREMENT BY 3 CACHE 4),
		"order" smallserial, "Group" "Even", "quo""te" text COLLATE "Odd ""Schema".folded DEFAULT 'it''s \ "x"',
		part int NOT NULL DEFAULT nextval('"Odd ""Schema"."shared seq"'),
		"twice " int GENERATED ALWAYS AS (part * 2) STORED, initial text GENERATED ALWAYS AS (initials("quo""te")) STORED,
		PRIMARY KEY ("user") INCLUDE (part), UNIQUE NULLS NOT DISTINCT ("order", "quo""te"), CONSTRAINT "a check" CHECK (part <> 3 AND "quo""te" <> ' USING ') NO INHERIT
	) WITH (fillfactor = 70, autovacuum_enabled = true);
	CREATE INDEX "i USING ""y" ON "Odd ""Schema"."select ON x USING ""y" USING gin ("quo""te" extensions.gin_trgm_ops) WHERE "Group" IS NOT NULL;
	CREATE UNIQUE INDEX ON "Odd ""Schema"."select ON x USING ""y" ((atomic(part)), (("order" || ' ON ')) DESC NULLS LAST) INCLUDE ("twice ") WITH (fillfactor = 50);
	CREATE TABLE parent (id int GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, code citext UNIQUE DEFERRABLE INITIALLY DEFERRED, UNIQUE (id, code));
	CREATE TABLE child (
		a int, b citext, parent int REFERENCES parent DEFERRABLE, boss int,
		during tstzrange NOT NULL, room int, spot place, spots place[], bag hstore, names textrange, many textranges, labels tags, feeling mood DEFAULT 'it''s fine',
		amount numeric(12, 3)[] DEFAULT '{1.5,2}', bits bit varying(7), waits interval day to second(2), at timestamptz(3) DEFAULT now(), doc jsonb DEFAULT '{"a": 1}' NOT NULL,
		id uuid DEFAULT gen_random_uuid() PRIMARY KEY, chars character(3), "char" "char",
		EXCLUDE USING gist (room WITH =, during WITH &&) WHERE (room > 0) DEFERRABLE,
		CONSTRAINT "both" FOREIGN KEY (a, b) REFERENCES parent (id, code) MATCH SIMPLE ON UPDATE CASCADE ON DELETE SET NULL (b));
	ALTER TABLE child ADD UNIQUE (boss), ADD CONSTRAINT self FOREIGN KEY (boss) REFERENCES child (boss) ON DELETE SET DEFAULT DEFERRABLE INITIALLY DEFERRED;
	ALTER TABLE child ADD CONSTRAINT unproven FOREIGN KEY (room) REFERENCES parent NOT VALID;
	ALTER TABLE child ADD CONSTRAINT late CHECK (room < 1000) NOT VALID;
	ALTER TABLE parent ADD best uuid REFERENCES child;
	CREATE INDEX ON child USING brin (at); CREATE INDEX ON child (lower(chars), amount);
	CREATE FUNCTION noise() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
	CREATE TRIGGER noisy BEFORE INSERT ON child FOR EACH ROW EXECUTE FUNCTION noise();
	COMMENT ON TABLE child IS 'not carried over';`

func tables(names ...string) *capability.Data {
	data := &capability.Data{State: capability.DataRunning, TableLine: 7}
	for i, name := range names {
		data.Tables = append(data.Tables, capability.Table{Table: name, Line: 8 + i})
	}
	return data
}

// replay runs a script through psql, as a person pastes it.
func (m *migration) replay(side capability.Side, script string) {
	m.t.Helper()
	binaries, err := clusters.Find(m.t.Context())
	m.must(err)
	command := exec.CommandContext(m.t.Context(), binaries.Path("psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", m.urls[side])
	command.Stdin = strings.NewReader(script)
	if out, err := command.CombinedOutput(); err != nil {
		m.t.Fatalf("psql: %v\n%s\n%s", err, out, script)
	}
}

func (m *migration) structure(side capability.Side) []string {
	m.t.Helper()
	var text string
	m.must(m.databases[side].pool.QueryRow(m.t.Context(), structureSQL).Scan(&text)) // every name is qualified there
	return strings.Split(text, "\n")
}

// sameStructure makes the tables and compares the whole databases.
func (m *migration) sameStructure(except ...string) {
	m.t.Helper()
	ddl, err := m.DDL(m.t.Context())
	m.must(err)
	m.replay(capability.Extracted, strings.Join(ddl.Statements, ";\n")+";")
	here, there := m.structure(capability.Legacy), m.structure(capability.Extracted)
	if len(here) < 20 {
		m.t.Fatalf("only %d lines of structure", len(here))
	}
	for _, line := range here {
		if !slices.Contains(there, line) && !slices.ContainsFunc(except, func(e string) bool { return strings.HasPrefix(line, e) }) {
			m.t.Errorf("lost:  %s", line)
		}
	}
	for _, line := range there {
		if !slices.Contains(here, line) {
			m.t.Errorf("added: %s", line)
		}
	}
}

func TestDefineTorture(t *testing.T) {
	t.Parallel()
	m := newMigration(t, capability.CaptureWAL, contorted, tables(`Odd "Schema.select ON x USING "y`, "child", "parent"))
	ddl, err := m.DDL(t.Context())
	m.must(err)
	for _, want := range []string{`triggers of child: noisy`, "comments of child", "calls"} {
		if !strings.Contains(strings.Join(ddl.Omitted, "\n"), want) {
			t.Errorf("nothing is said of %q: %q", want, ddl.Omitted)
		}
	}
	m.sameStructure("function CREATE OR REPLACE FUNCTION public.noise()")
	if again, err := m.DDL(t.Context()); err != nil || len(again.Statements) > 0 {
		t.Errorf("made and still missing: %v, %v", again.Statements, err)
	}
	if _, problems, err := m.Plan(t.Context()); err != nil || len(problems) > 0 {
		t.Errorf("what was made is refused: %v, %v", problems, err)
	}
}

// TestDefineRenamed: what the mapping renames is what ALTER … RENAME would have made.
func TestDefineRenamed(t *testing.T) {
	t.Parallel()
	data := tables("child", "parent")
	data.Tables[0].As, data.Tables[0].Columns = `Kid's`, map[string]string{"a": `select "A"`, "b": "c", "room": "Room", "amount": "b", "parent": "id_of_parent"}
	data.Tables[1].As, data.Tables[1].Columns = "other.parents", map[string]string{"id": "code", "code": "id"}
	m := newMigration(t, capability.CaptureWAL, contorted+`DROP TABLE "Odd ""Schema"."select ON x USING ""y"; DROP SEQUENCE "Odd ""Schema"."shared seq"`, data)
	ddl, err := m.DDL(t.Context())
	m.must(err)
	m.replay(capability.Extracted, strings.Join(ddl.Statements, ";\n")+";")
	m.exec(capability.Legacy, `CREATE SCHEMA other; ALTER TABLE parent RENAME TO parents; ALTER TABLE parents SET SCHEMA other;
		ALTER TABLE other.parents RENAME id TO x; ALTER TABLE other.parents RENAME code TO id; ALTER TABLE other.parents RENAME x TO code;
		ALTER TABLE child RENAME TO "Kid's"; ALTER TABLE "Kid's" RENAME b TO c; ALTER TABLE "Kid's" RENAME a TO "select ""A"""; ALTER TABLE "Kid's" RENAME room TO "Room";
		ALTER TABLE "Kid's" RENAME amount TO b; ALTER TABLE "Kid's" RENAME parent TO id_of_parent`)
	relevant := regexp.MustCompile(`^(table|column|constraint|index|sequence) .*(Kid's|parents)`)
	there, seen := m.structure(capability.Extracted), 0
	for _, line := range m.structure(capability.Legacy) {
		if !relevant.MatchString(line) {
			continue
		}
		if seen++; !slices.Contains(there, line) {
			t.Errorf("lost: %s", line)
		}
	}
	if seen < 40 {
		t.Errorf("only %d lines were compared", seen)
	}
}

// TestDefineSamples: two well-known schemas, whole.
func TestDefineSamples(t *testing.T) {
	t.Parallel()
	dir := os.Getenv("STRANGLER_TESTDATA")
	if dir == "" {
		t.Skip("STRANGLER_TESTDATA names no folder with northwind.sql and chinook.sql")
	}
	for _, name := range []string{"northwind", "chinook"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMigration(t, capability.CaptureWAL, "", tables())
			script, err := os.ReadFile(filepath.Join(dir, name+".sql"))
			m.must(err)
			m.replay(capability.Legacy, string(script))
			all := ask[[]string](m, capability.Legacy, `SELECT array_agg(relname::text ORDER BY md5(relname)) FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'`)
			m.Document.Data = tables(all...)
			m.sameStructure()
			if plan, problems, err := m.Plan(t.Context()); err != nil || len(problems) > 0 || len(plan.Tables) < 10 {
				t.Error(fmt.Sprint(len(plan.Tables), problems, err))
			}
		})
	}
}
