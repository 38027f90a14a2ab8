package postgres

import (
	"fmt"
	"maps"
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
	"datestyle": "SQL, DMY", "intervalstyle": "sql_standard", "timezone": "Asia/Kathmandu", "extra_float_digits": "-15", "bytea_output": "escape", "xmlbinary": "hex", "xmloption": "document",
}

// TestSettingsOfApplicationsAreNotOurs: timeouts that end every session after a
// moment, and what decides how text is read and written, on both sides and both ways.
func TestSettingsOfApplicationsAreNotOurs(t *testing.T) {
	inEachCapture(t, testSettingsOfApplicationsAreNotOurs)
}

// foreign is a locale of the servers' system that writes money in a way of its own.
func (m *migration) foreign() string {
	m.t.Helper()
	for _, name := range []string{"de_DE.utf8", "de_DE.UTF-8", "en_GB.utf8", "en_GB.UTF-8", "sv_SE.utf8", "sv_SE.UTF-8"} {
		if m.try(capability.Legacy, `SET lc_monetary = '`+name+`'`) == nil {
			return name
		}
	}
	m.t.Log("NOT TESTED: lc_monetary, for lack of a locale beside C; install one, or make one in a folder that LOCPATH names: localedef -i de_DE -f UTF-8 FOLDER/de_DE.UTF-8")
	return ""
}

func testSettingsOfApplicationsAreNotOurs(t *testing.T, kind capability.Capture) {
	const rows = `INSERT INTO tags SELECT n, ARRAY[n::text, NULL, 'NULL', E'\\', ''''], E'\\x41 \\'' ' || n, '<a/> no document', n / 3.0::float8, n * 1234567.89::numeric, '2026-02-01 10:00+03',
		'-1 day 02:03', '\x5c00ff' FROM generate_series(%d, %d) n`
	m := newMigration(t, kind, `CREATE TABLE tags (id int PRIMARY KEY, list text[], body text, doc xml, ratio float8, price money, at timestamptz, span interval, raw bytea);`+fmt.Sprintf(rows, 1, 2000),
		&capability.Data{State: capability.DataRunning, Capture: kind, Tables: []capability.Table{{Table: "tags"}}}).created()
	settings := maps.Clone(impatient)
	if locale := m.foreign(); locale != "" {
		settings["lc_monetary"] = locale
	}
	for _, side := range capability.Sides {
		var script strings.Builder
		url := m.urls[side]
		for name, value := range settings {
			fmt.Fprintf(&script, `DO $$ BEGIN EXECUTE format('ALTER DATABASE %%I SET %s = %%L', current_database(), '%s'); END $$;`, name, value)
			url += "&" + name + "=" + strings.ReplaceAll(ask[string](m, side, `SELECT boot_val FROM pg_settings WHERE lower(name) = $1`, name), " ", "%20")
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
