package postgres

import (
	"strings"
	"testing"
	"time"

	"strangler/capability"
)

const members = `CREATE TABLE members (id int PRIMARY KEY, email text NOT NULL DEFAULT 'none', name text NOT NULL, born date, legacy_note text);
	INSERT INTO members SELECT n, 'Member' || n || '@Example.com', 'n' || n, '2000-01-01', repeat('note', 1000) FROM generate_series(1, 50) n;`

func membersData(lossy bool, computed ...capability.Computed) *capability.Data {
	return &capability.Data{State: capability.DataRunning, TableLine: 7, Tables: []capability.Table{{Table: "members", Line: 8, Lossy: lossy, Omit: []string{"email", "legacy_note"}, Computed: computed}}}
}

// TestARowThatWouldNotComeBackTheSameDiffers: an expression that forgets something
// is found while legacy owns, before anything is lost.
func TestARowThatWouldNotComeBackTheSameDiffers(t *testing.T) {
	inEachCapture(t, testARowThatWouldNotComeBackTheSameDiffers)
}

func testARowThatWouldNotComeBackTheSameDiffers(t *testing.T, kind capability.Capture) {
	m := newMigration(t, kind, members+`UPDATE members SET email = lower(email) WHERE id > 3`,
		membersData(false, capability.Computed{Column: "address", Forward: "lower(email)", Reverse: []capability.Reverse{{Column: "email", SQL: "address"}}, Line: 9})).created()
	m.follows(m.Mover)
	v := m.verify(capability.Legacy, 3)
	if found := v.Mismatches[0]; found.Detail != "column email differs" || found.Key != "id=1" {
		t.Errorf("found %+v", found)
	}
	m.exec(capability.Legacy, `UPDATE members SET email = lower(email)`)
	m.settled(capability.Legacy)
	m.verify(capability.Legacy, 0)
	m.exec(capability.Legacy, `UPDATE members SET email = 'Loud@example.com' WHERE id = 7`)
	m.settled(capability.Legacy)
	if mismatches, err := m.VerifyChanged(t.Context(), capability.Legacy); err != nil || len(mismatches) != 1 || mismatches[0].Detail != "column email differs" {
		t.Errorf("a switch would find %+v, %v", mismatches, err)
	}
}

// TestALossyWayBack keeps what it has no way for, and says so.
func TestALossyWayBack(t *testing.T) { inEachCapture(t, testALossyWayBack) }

func testALossyWayBack(t *testing.T, kind capability.Capture) {
	data := membersData(true,
		capability.Computed{Column: "address", Forward: "lower(email)", Line: 9},
		capability.Computed{Column: "year", Forward: "extract(year FROM born)::int", Reverse: []capability.Reverse{{Column: "born", SQL: "make_date(year, 1, 1)"}}, Line: 10})
	m := newMigration(t, kind, members, data).created()
	plan, problems, err := m.Plan(t.Context())
	m.must(err)
	if len(problems) > 0 || !plan.Tables[0].Lossy {
		t.Fatal(problems, plan.Tables)
	}
	m.follows(m.Mover)
	skipped := func(v capability.VerifyStatus) string { return strings.Join(v.Skipped, ", ") }
	const why = " (whether it comes back as it is: reverse: lossy)"
	v := m.verify(capability.Legacy, 0) // whatever comes back
	if got := skipped(v); !strings.Contains(got, "members.email"+why) || !strings.Contains(got, "members.born"+why) || strings.Contains(got, "members.name") {
		t.Errorf("not compared: %s", got)
	}
	m.switchTo(capability.Extracted)
	m.exec(capability.Extracted, `UPDATE members SET name = 'changed', address = 'x' WHERE id = 1; UPDATE members SET year = 1990 WHERE id = 2; INSERT INTO members (id, name, address, year) VALUES (60, 'new', 'new@example.com', 2001)`)
	m.settled(capability.Extracted)
	if got := skipped(m.verify(capability.Extracted, 0)); !strings.Contains(got, "members.address"+why) || !strings.Contains(got, "members.year"+why) {
		t.Errorf("not compared: %s", got)
	}
	got := ask[string](m, capability.Legacy, `SELECT string_agg(format('%s %s %s %s %s', id, email, name, born, length(legacy_note)), ', ' ORDER BY id) FROM members WHERE id IN (1, 2, 60)`)
	if want := "1 Member1@Example.com changed 2000-01-01 4000, 2 Member2@Example.com n2 1990-01-01 4000, 60 none new 2001-01-01 "; got != want {
		t.Errorf("legacy has %s\nwant %s", got, want)
	}
	m.switchTo(capability.Legacy)
	if n := m.verifyAny(capability.Legacy); n != 2 { // addresses of 1 and 60
		t.Errorf("%d rows differ after a lossy rollback, want 2", n)
	}
	v, err = m.Repair(t.Context(), capability.Legacy, nil)
	if err != nil || v.Count != 0 || v.Repaired != 2 {
		t.Errorf("%+v, %v", v, err)
	}
}

// TestOldRowsComeWholeOrTheStreamEnds: whoever takes the replica identity back
// makes the mapping guess, which it does not.
func TestOldRowsComeWholeOrTheStreamEnds(t *testing.T) {
	t.Parallel()
	for name, table := range map[string]capability.Table{
		"where":  {Where: "born IS NOT NULL"},
		"inputs": {Omit: []string{"legacy_note"}, Lossy: true, Computed: []capability.Computed{{Column: "label", Forward: "legacy_note || name", Line: 9}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			table.Table, table.Line = "members", 8
			m := newMigration(t, capability.CaptureWAL, members+`ALTER TABLE members ALTER legacy_note SET STORAGE EXTERNAL, REPLICA IDENTITY FULL; UPDATE members SET legacy_note = repeat('n', 5000)`,
				&capability.Data{State: capability.DataRunning, TableLine: 7, Tables: []capability.Table{table}}).created()
			ended := make(chan error, 1)
			go func() { ended <- m.Mover.Run(t.Context()) }()
			m.eventually("both streams are live", func() (bool, string) {
				s := m.Status()
				return len(s.Streams) == 2 && s.Streams[0].Live && s.Streams[1].Live, s.Error
			})
			m.exec(capability.Legacy, `UPDATE members SET name = 'whole' WHERE id = 1`)
			m.settled(capability.Legacy)
			m.exec(capability.Legacy, `ALTER TABLE members REPLICA IDENTITY DEFAULT; UPDATE members SET name = 'parted' WHERE id = 2`)
			select {
			case err := <-ended:
				if !isHalt(err) || !strings.Contains(err.Error(), "ALTER TABLE public.members REPLICA IDENTITY FULL") {
					t.Errorf("the stream ended with %v", err)
				}
			case <-time.After(30 * time.Second):
				t.Error("the stream goes on")
			}
			if wrong := ask[int](m, capability.Extracted, `SELECT count(*) FROM members WHERE name = 'parted'`); wrong != 0 {
				t.Error("the update was applied")
			}
		})
	}
}
