package postgres

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"strangler/capability"
	"testbed"
)

// sorted are words that each collation puts in an order of its own: by case, accents,
// punctuation, digits, and what is composed of two characters.
const sorted = `(SELECT DISTINCT w || s AS word FROM unnest(ARRAY['a', 'A', 'ä', 'Ä', 'ae', 'z', 'Z', 'ß', 'ss', 'a-b', 'ab', 'a b', 'a_b', '_a', ' a', '10', '9', '', E'a\\', E'a\tb', 'e' || U&'\0301', 'é', 'ø', '日本', '😀', U&'\FFFD', '~', '-']) w,
	unnest(ARRAY['', 'a', 'B', 'ä', '-', ' ', '1', E'\\', '😀', U&'\FFFD']) s) words`

// sortedTables have such words as keys, whose order is the database's or their own.
var sortedTables = map[string]string{
	"plain":  `CREATE TABLE plain (k text PRIMARY KEY, v text)`,
	"narrow": `CREATE TABLE narrow (k varchar(40) PRIMARY KEY, v text)`,
	"german": `CREATE TABLE german (k text COLLATE "de-DE-x-icu" PRIMARY KEY, v text)`,
	"bytes":  `CREATE TABLE bytes (k text COLLATE "C" PRIMARY KEY, v text)`,
	"swedes": `CREATE TABLE swedes (n int, k text COLLATE "sv-SE-x-icu", v text, PRIMARY KEY (k, n))`,
}

// TestKeysThatSortDifferently: the backfill in pieces, the stream, a verification that
// goes on behind a key again and again, and a repair, between a database that sorts by
// a language and one that sorts by bytes, both ways.
func TestKeysThatSortDifferently(t *testing.T) { inEachCapture(t, testKeysThatSortDifferently) }

func testKeysThatSortDifferently(t *testing.T, kind capability.Capture) {
	data := &capability.Data{State: capability.DataRunning, Capture: kind}
	var script strings.Builder
	names := slices.Sorted(maps.Keys(sortedTables))
	columns := func(table string) string {
		if table == "swedes" {
			return "1, word"
		}
		return "word"
	}
	for _, name := range names {
		fmt.Fprintf(&script, "%s; INSERT INTO %s SELECT %s, repeat('v', 200) FROM %s;\n", sortedTables[name], name, columns(name), sorted)
		data.Tables = append(data.Tables, capability.Table{Table: name})
	}
	m := newMigrationIn(t, kind, testbed.Sorted(t, "de-DE"), testbed.Other(t), script.String(), data)
	m.chunkBytes = 16 << 10
	m.Mover = m.mover(data, 1)
	m.created()
	// Otherwise nothing below is about sorting.
	const order = `SELECT string_agg(k, '|' ORDER BY k) FROM plain`
	m.follows(m.Mover)
	if ask[string](m, capability.Legacy, order) == ask[string](m, capability.Extracted, order) {
		t.Fatal("both databases sort alike")
	}
	same := func(from capability.Side) {
		t.Helper()
		m.settled(from)
		for _, name := range names {
			if n := m.bytewiseAsNamed(name); n < 250 {
				t.Errorf("%s has %d rows", name, n)
			}
		}
		m.verify(from, 0)
	}
	same(capability.Legacy)
	for _, owner := range capability.Sides {
		if owner == capability.Extracted {
			m.switchTo(owner)
		}
		var b strings.Builder
		for _, name := range names {
			fmt.Fprintf(&b, `DELETE FROM %[1]s WHERE k LIKE 'z%%'; UPDATE %[1]s SET v = 'changed' WHERE k > 'ab'; UPDATE %[1]s SET k = k || 'Ö' WHERE k < 'B'; INSERT INTO %[1]s SELECT %[2]s, 'anew' FROM (SELECT 'Zz%[3]s' || word AS word FROM %[4]s) w;`, name, columns(name), owner, sorted)
		}
		m.exec(owner, b.String())
		same(owner)
		// Rows that are gone, surplus and changed, all over the order of either side.
		b.Reset()
		b.WriteString("SET search_path = public; ")
		differences := int64(0)
		for _, name := range names {
			n := ask[int64](m, owner, fmt.Sprintf(`SELECT count(*) FROM %s WHERE length(k) %% 4 IN (0, 1)`, name))
			differences += n + 5
			fmt.Fprintf(&b, `DELETE FROM %[1]s WHERE length(k) %% 4 = 0; UPDATE %[1]s SET v = v || ' wrong' WHERE length(k) %% 4 = 1; INSERT INTO %[1]s SELECT %[2]s, 'surplus' FROM unnest(ARRAY['aX', 'Äx', '~~', '!', 'zzzz']) word;`, name, columns(name))
		}
		m.rogue(owner.Other(), b.String())
		m.SnapshotAge = time.Nanosecond
		m.verify(owner, differences)
		m.SnapshotAge = 0
		v, err := m.Repair(t.Context(), owner, nil)
		m.must(err)
		if v.Count != 0 || v.Repaired != differences {
			t.Errorf("repaired %d of %d, %d differ still", v.Repaired, differences, v.Count)
		}
		same(owner)
	}
}
