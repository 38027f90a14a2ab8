package postgres

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"strangler/capability"
	"strangler/migrate"
)

// TestConflictsShowTheirRows to whoever asks for them, as both sides have them; and
// no value of them to anybody else.
func TestConflictsShowTheirRows(t *testing.T) { inEachCapture(t, testConflictsShowTheirRows) }

func testConflictsShowTheirRows(t *testing.T, kind capability.Capture) {
	const ddl = `CREATE TABLE people (login text PRIMARY KEY, mail text UNIQUE, age int);
		INSERT INTO people VALUES ('hush-a', 'hush-a@x', 1), ('hush-b', 'hush-b@x', 2), ('hush-c', NULL, 3)`
	for name, test := range map[string]struct{ target, source, want string }{
		"a row is missing": {`DELETE FROM persons WHERE login = 'hush-a'`, `UPDATE people SET age = 9 WHERE login = 'hush-a'`,
			`update persons | login=hush-a address=hush-a@x age=9 | legacy people login=hush-a: login=hush-a mail=hush-a@x age=9 | extracted persons login=hush-a: -`},
		"a row to delete is missing": {`DELETE FROM persons WHERE login = 'hush-b'`, `DELETE FROM people WHERE login = 'hush-b'`,
			`delete persons |  | legacy people login=hush-b: - | extracted persons login=hush-b: -`},
		"a row is there": {`INSERT INTO persons VALUES ('hush-d', NULL, 7)`, `INSERT INTO people VALUES ('hush-d', 'hush-d@x', 4)`,
			`insert persons | login=hush-d address=hush-d@x age=4 | legacy people login=hush-d: login=hush-d mail=hush-d@x age=4 | extracted persons login=hush-d: login=hush-d address=NULL age=7`},
		"another row has the value": {`UPDATE persons SET address = 'hush-e@x' WHERE login = 'hush-c'`, `UPDATE people SET mail = 'hush-e@x' WHERE login = 'hush-a'`,
			`update persons | login=hush-a address=hush-e@x age=1 | legacy people login=hush-a: login=hush-a mail=hush-e@x age=1 | extracted persons login=hush-a: login=hush-a address=hush-a@x age=1`},
		"a key changes": {`DELETE FROM persons WHERE login = 'hush-b'`, `UPDATE people SET login = 'hush-z' WHERE login = 'hush-b'`,
			`update persons | login=hush-z address=hush-b@x age=2 | legacy people login=hush-b: - | legacy people login=hush-z: login=hush-z mail=hush-b@x age=2 | extracted persons login=hush-b: - | extracted persons login=hush-z: -`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMigration(t, kind, ddl, &capability.Data{State: capability.DataRunning, Gap: 10, Tables: []capability.Table{{Table: "people", As: "persons", Columns: map[string]string{"mail": "address"}}}}).created()
			var log bytes.Buffer
			options := m.Options
			options.Log = slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
			m.Mover = migrate.NewMover(options)
			m.follows(m.Mover)()
			if _, found, err := m.Conflict(t.Context()); found || err != nil {
				t.Errorf("a conflict before there was one: %v", err)
			}
			m.rogue(capability.Extracted, test.target)
			m.exec(capability.Legacy, test.source)
			err := m.Run(t.Context())
			if !errors.As(err, new(*migrate.ConflictError)) || !strings.Contains(err.Error(), "strangler data status --show-values") {
				t.Fatalf("ended with %v", err)
			}
			status := fmt.Sprintf("%+v", m.Status())
			if !strings.Contains(status, "sha256:") || strings.Contains(status+err.Error()+log.String(), "hush") {
				t.Errorf("values are shown, or the row is not named: %s\n%s", status, log.String())
			}
			c, found, err := m.Conflict(t.Context())
			m.must(err)
			if got := conflictText(c); !found || got != test.want || c.From != capability.Legacy {
				t.Errorf("the conflict is\n%s, want\n%s", got, test.want)
			}
			if said := "Key (address)=(hush-e@x) already exists."; name == "another row has the value" && c.Said != said {
				t.Errorf("the server said %q", c.Said)
			}
			m.must(m.Recover(t.Context()))
			m.follows(m.Mover)
			if _, found, err := m.Conflict(t.Context()); found || err != nil {
				t.Errorf("a conflict after it was mended: %v", err)
			}
			m.verify(capability.Legacy, 0)
		})
	}
}

func conflictText(c capability.Conflict) string {
	fields := func(list []capability.Field) string {
		var texts []string
		for _, f := range list {
			text := "NULL"
			if f.Value != nil {
				text = *f.Value
			}
			texts = append(texts, f.Column+"="+text)
		}
		return strings.Join(texts, " ")
	}
	text := c.Change + " " + c.Table + " | " + fields(c.Values)
	for _, r := range c.Rows {
		has := "-"
		if r.There {
			has = fields(r.Values)
		}
		text += fmt.Sprintf(" | %s %s %s: %s", r.Side, r.Table, fields(r.Key), has)
	}
	return text
}
