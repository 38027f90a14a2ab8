package postgres

import (
	"fmt"
	"strings"
	"testing"

	"strangler/capability"
)

// impatient are settings of a database or a role that applications may want, and
// that a mover would be ended by, or would write other values under.
var impatient = map[string]string{
	"array_nulls": "off", "standard_conforming_strings": "off", "backslash_quote": "on", "transform_null_equals": "on",
	"statement_timeout": "20", "lock_timeout": "1", "idle_in_transaction_session_timeout": "10", "idle_session_timeout": "10",
	"default_transaction_isolation": "serializable", "default_transaction_read_only": "on", "synchronous_commit": "off",
}

// TestSettingsOfApplicationsAreNotOurs: timeouts that end every session after a
// moment, and what decides how text is read, on both sides and both ways.
func TestSettingsOfApplicationsAreNotOurs(t *testing.T) {
	inEachCapture(t, testSettingsOfApplicationsAreNotOurs)
}

func testSettingsOfApplicationsAreNotOurs(t *testing.T, kind capability.Capture) {
	const rows = `INSERT INTO tags SELECT n, ARRAY[n::text, NULL, 'NULL', E'\\', ''''], E'\\x41 \\'' ' || n FROM generate_series(%d, %d) n`
	m := newMigration(t, kind, `CREATE TABLE tags (id int PRIMARY KEY, list text[], body text);`+fmt.Sprintf(rows, 1, 2000),
		&capability.Data{State: capability.DataRunning, Capture: kind, Tables: []capability.Table{{Table: "tags"}}}).created()
	for _, side := range capability.Sides {
		var script strings.Builder
		url := m.urls[side]
		for name, value := range impatient {
			fmt.Fprintf(&script, `DO $$ BEGIN EXECUTE format('ALTER DATABASE %%I SET %s = %%L', current_database(), '%s'); END $$;`, name, value)
			url += "&" + name + "=" + strings.ReplaceAll(ask[string](m, side, `SELECT boot_val FROM pg_settings WHERE name = $1`, name), " ", "%20")
		}
		m.exec(side, script.String())
		m.urls[side] = url             // the test's own sessions stay as they are
		m.databases[side].pool.Reset() // those of before have the settings of before
	}
	m.follows(m.Mover)
	m.verify(capability.Legacy, 0)
	for i, owner := range capability.Sides {
		if i > 0 {
			m.switchTo(owner)
		}
		m.exec(owner, fmt.Sprintf(rows, 3001+1000*i, 3500+1000*i)+`; UPDATE tags SET body = body || E'\\' WHERE id % 3 = 0; UPDATE tags SET list = list || NULL::text WHERE id % 5 = 0`)
		m.settled(owner)
		m.verify(owner, 0)
		if n := m.bytewiseAsNamed("tags"); n != 2000+500*(i+1) {
			t.Errorf("%d rows", n)
		}
	}
}
