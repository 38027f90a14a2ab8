package postgres

import (
	"errors"
	"testing"

	"strangler/capability"
	"strangler/migrate"
)

// TestAlteredTablesAreWaitedFor: what fits no more is told with the statement that
// mends it; when that was run, and nothing else, the move goes on, and is exact.
func TestAlteredTablesAreWaitedFor(t *testing.T) { inEachCapture(t, testAlteredTablesAreWaitedFor) }

func testAlteredTablesAreWaitedFor(t *testing.T, kind capability.Capture) {
	for name, test := range map[string]struct {
		side  capability.Side
		alter string
		told  []string
	}{
		"column added":   {capability.Legacy, `ALTER TABLE things ADD note text; UPDATE things SET note = 'x' WHERE id = 5`, []string{"extracted database: ALTER TABLE public.things ADD COLUMN note text"}},
		"fast default":   {capability.Legacy, `ALTER TABLE things ADD since timestamptz NOT NULL DEFAULT now(), ADD says text DEFAULT 'it''s', ADD k int[] DEFAULT '{1,2}'`, []string{"ADD COLUMN since timestamp with time zone DEFAULT '20", "ADD COLUMN says text DEFAULT 'it''s'", "NOT NULL there", "(now())", "'{1,2}'"}},
		"column renamed": {capability.Legacy, `ALTER TABLE things RENAME a TO "the A"; UPDATE things SET "the A" = 'new' WHERE id = 6`, []string{`RENAME COLUMN a TO "the A"`, "columns: {the A: a}"}},
		"names swapped": {capability.Legacy, `UPDATE things SET a = 'one' WHERE id = 8; ALTER TABLE things RENAME a TO tmp; UPDATE things SET tmp = 'two' WHERE id = 9; ALTER TABLE things RENAME b TO a;
			UPDATE things SET a = 'three' WHERE id = 10; ALTER TABLE things RENAME tmp TO b; UPDATE things SET b = 'four' WHERE id = 11`, []string{"RENAME COLUMN b TO a"}},
		"column dropped":       {capability.Legacy, `UPDATE things SET a = 'gone' WHERE id = 6; ALTER TABLE things DROP a`, []string{"extracted database: ALTER TABLE public.things DROP COLUMN a"}},
		"type made wider":      {capability.Legacy, `ALTER TABLE things ALTER code TYPE varchar(20); UPDATE things SET code = 'longer than it was' WHERE id = 5`, []string{"ALTER COLUMN code TYPE character varying(20)"}},
		"type made text":       {capability.Legacy, `ALTER TABLE things ALTER code TYPE text; UPDATE things SET code = 'longer than it was' WHERE id = 5`, []string{"ALTER COLUMN code TYPE text"}},
		"value of a type":      {capability.Legacy, `ALTER TYPE mood ADD VALUE 'great' AFTER 'sad'; ALTER TYPE mood ADD VALUE 'first' BEFORE 'sad'; UPDATE things SET feel = 'great' WHERE id = 5; UPDATE things SET feel = 'first' WHERE id = 6`, []string{"ALTER TYPE public.mood ADD VALUE 'first' BEFORE 'sad'; ALTER TYPE public.mood ADD VALUE 'great' AFTER 'sad'"}},
		"renamed over there":   {capability.Extracted, `ALTER TABLE things RENAME a TO z`, []string{"legacy database: ALTER TABLE public.things RENAME COLUMN a TO z"}},
		"dropped over there":   {capability.Extracted, `ALTER TABLE things DROP a`, []string{"legacy database: ALTER TABLE public.things DROP COLUMN a", "omit: [a]"}},
		"type over there":      {capability.Extracted, `ALTER TABLE things ALTER code TYPE text`, []string{"legacy database: ALTER TABLE public.things ALTER COLUMN code TYPE text"}},
		"several at once":      {capability.Legacy, `ALTER TABLE things DROP b; UPDATE things SET a = 'between' WHERE id = 12; ALTER TABLE things ADD bb text; UPDATE things SET bb = 'anew' WHERE id = 13; ALTER TABLE others ADD more int`, []string{"DROP COLUMN b", "ADD COLUMN bb text", "public.others ADD COLUMN more integer"}},
		"column of a new type": {capability.Legacy, `CREATE DOMAIN short AS varchar(5); ALTER TABLE things ADD d short DEFAULT 'dd'`, []string{"ADD COLUMN d public.short DEFAULT 'dd'"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, rest := altering(t, kind)
			m.script(test.side, test.alter)
			m.waits()
			if err := m.WaitMarker(t.Context(), capability.Legacy, "x"); !errors.Is(err, migrate.ErrNotFollowing) {
				t.Errorf("somebody may switch: %v", err)
			}
			if name == "column of a new type" {
				m.exec(capability.Extracted, `CREATE DOMAIN short AS varchar(5)`)
			}
			says(t, m.obeys(), append(test.told, "then it goes on by itself")...)
			m.settled(capability.Legacy)
			m.verify(capability.Legacy, 0)
			rest()
			m.switchTo(capability.Extracted)
		})
	}
}
