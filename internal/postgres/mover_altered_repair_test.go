package postgres

import (
	"context"
	"errors"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"strangler/capability"
	"strangler/migrate"
)

// untilItEnds runs the mover, waits until both streams are live, and returns how to
// wait until the move ends by itself and to be told why.
func (m *migration) untilItEnds() (why func() string) {
	m.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	var once sync.Once
	end := func() (err error) {
		once.Do(func() {
			select {
			case err = <-ended:
			case <-time.After(30 * time.Second):
				cancel()
				<-ended
			}
			cancel()
		})
		return err
	}
	go func() { ended <- m.Run(ctx) }()
	m.t.Cleanup(func() {
		cancel()
		_ = end() // the test has failed, or has it already
	})
	m.eventually("both streams are live", func() (bool, string) { return m.live(), m.Status().Error })
	return func() string {
		m.t.Helper()
		err := end()
		if err == nil {
			m.t.Fatalf("the move goes on: %+v", m.Status())
		}
		return err.Error()
	}
}

// TestRewrittenRowsAreCompared: rows that were written anew with other values came
// in no stream. The move says so within seconds, whether anybody writes or not, and
// a repair takes the tables up as they are.
func TestRewrittenRowsAreCompared(t *testing.T) { inEachCapture(t, testRewrittenRowsAreCompared) }

func testRewrittenRowsAreCompared(t *testing.T, kind capability.Capture) {
	for name, test := range map[string]struct {
		alter string // on the legacy side
		mend  string // on the extracted one
		told  []string
	}{
		"type by an expression": {`ALTER TABLE things ALTER code TYPE int USING length(code)`, `ALTER TABLE things ALTER code TYPE int USING 0`, []string{"type of column code changed to integer on the legacy side, whose rows were written anew", "run in the extracted database: ALTER TABLE public.things ALTER COLUMN code TYPE integer"}},
		"volatile default":      {`ALTER TABLE things ADD token uuid NOT NULL DEFAULT gen_random_uuid()`, `ALTER TABLE things ADD COLUMN token uuid`, []string{"got column token on the legacy side, whose rows were written anew", "ADD COLUMN token uuid"}},
		"replaced":              {`ALTER TABLE things DROP b, ADD b text`, ``, []string{"another column b has taken the place"}},
		"another default":       {`ALTER TABLE things ADD c text DEFAULT 'here'`, `ALTER TABLE things ADD c text DEFAULT 'there'`, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMigration(t, kind, things, thingsData()).created()
			why := m.untilItEnds()
			m.verify(capability.Legacy, 0)
			m.exec(capability.Legacy, test.alter)
			if name == "another default" {
				m.waits()
				m.exec(capability.Extracted, test.mend)
				test.mend = ""
			}
			says(t, why(), append(test.told, "strangler data repair")...)
			rest := m.busy(capability.Legacy)
			m.exec(capability.Extracted, test.mend)
			m.must(m.Recover(t.Context()))
			m.Mover = m.mover(thingsData(), 2)
			m.follows(m.Mover)
			m.settled(capability.Legacy)
			m.verify(capability.Legacy, 0)
			rest()
			m.switchTo(capability.Extracted)
		})
	}
}

// TestRewritesWithoutAnotherColumnAreComparedLater: nobody can tell what they did,
// so the next switch compares every row, and until then the move goes on.
func TestRewritesWithoutAnotherColumnAreComparedLater(t *testing.T) {
	inEachCapture(t, testRewritesWithoutAnotherColumnAreComparedLater)
}

func testRewritesWithoutAnotherColumnAreComparedLater(t *testing.T, kind capability.Capture) {
	m, rest := altering(t, kind)
	if n := m.UnverifiedKeys(capability.Legacy); n == math.MaxInt {
		t.Fatal("not verified at the beginning")
	}
	m.exec(capability.Legacy, `VACUUM FULL things`)
	m.eventually("a comparison is owed", func() (bool, string) { return m.UnverifiedKeys(capability.Legacy) == math.MaxInt, "" })
	if s := m.Status(); s.Phase != capability.PhaseFollowing {
		t.Errorf("status: %+v", s)
	}
	m.settled(capability.Legacy)
	m.verify(capability.Legacy, 0)
	m.exec(capability.Extracted, `CLUSTER things USING things_pkey`)
	m.eventually("a comparison is owed", func() (bool, string) { return m.UnverifiedKeys(capability.Legacy) == math.MaxInt, "" })
	m.verify(capability.Legacy, 0)
	rest()
	m.switchTo(capability.Extracted)
}

// TestWhatTheOtherSideNeedNotKnowGoesOn by itself, without a word.
func TestWhatTheOtherSideNeedNotKnowGoesOn(t *testing.T) {
	inEachCapture(t, testWhatTheOtherSideNeedNotKnowGoesOn)
}

func testWhatTheOtherSideNeedNotKnowGoesOn(t *testing.T, kind capability.Capture) {
	m, rest := altering(t, kind)
	m.script(capability.Extracted, `ALTER TABLE things ADD seen text; ALTER TABLE things ADD rank int NOT NULL DEFAULT 3; ALTER TABLE things DROP rank; ALTER TABLE things ALTER n SET DEFAULT 5; CREATE INDEX ON things (n)`)
	m.script(capability.Legacy, `ALTER TABLE things ALTER a SET DEFAULT 'other'; ALTER TABLE things ALTER b SET NOT NULL; CREATE INDEX ON things (n); ALTER TABLE things ADD CHECK (n >= 0)`)
	m.eventually("the new column is taken up", func() (bool, string) {
		return ask[bool](m, capability.Extracted, `SELECT layout LIKE '%"seen"%' FROM strangler.move`) && m.live(), ""
	})
	m.settled(capability.Legacy)
	m.verify(capability.Legacy, 0)
	rest()
	m.switchTo(capability.Extracted)
	rest = m.busy(capability.Extracted)
	m.exec(capability.Extracted, `ALTER TABLE things ADD more text`)
	m.exec(capability.Extracted, `UPDATE things SET more = 'x', seen = 'y' WHERE id < 5`)
	m.eventually("it is taken up", func() (bool, string) {
		return ask[bool](m, capability.Extracted, `SELECT layout LIKE '%"more"%' FROM strangler.move`) && m.live(), ""
	})
	rest()
	m.settled(capability.Extracted)
	m.verify(capability.Extracted, 0)
}

// TestAlteredWhileTheMoverWasAway: both sides were, and changes of every form of the
// tables wait to be read.
func TestAlteredWhileTheMoverWasAway(t *testing.T) { inEachCapture(t, testAlteredWhileTheMoverWasAway) }

func testAlteredWhileTheMoverWasAway(t *testing.T, kind capability.Capture) {
	const both = `ALTER TABLE things ADD note text DEFAULT 'old'; ALTER TABLE things ALTER note DROP DEFAULT`
	for name, alter := range map[string]string{
		"added":          both,
		"dropped":        `ALTER TABLE things DROP a`,
		"renamed":        `ALTER TABLE things RENAME a TO "a a"`,
		"exchanged":      `ALTER TABLE things RENAME a TO tmp; ALTER TABLE things RENAME b TO a; ALTER TABLE things RENAME tmp TO b`,
		"dropped, added": `ALTER TABLE things DROP a; ALTER TABLE things ADD z text DEFAULT 'z'`,
		"wider":          `ALTER TABLE things ALTER code TYPE text`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMigration(t, kind, things, thingsData()).created()
			stop := m.follows(m.Mover)
			m.verify(capability.Legacy, 0)
			m.settled(capability.Legacy)
			stop()
			rest := m.busy(capability.Legacy)
			m.script(capability.Legacy, `INSERT INTO things (id, n, b) VALUES (2000000, 1, 'before'); UPDATE things SET n = n + 1, b = 'B' || id WHERE id IN (20, 21)`)
			for statement := range strings.SplitSeq(alter, ";") {
				m.exec(capability.Legacy, statement)
				m.exec(capability.Legacy, `INSERT INTO things (n) VALUES (3), (4); UPDATE things SET n = n + 1 WHERE id BETWEEN 30 AND 40; UPDATE things SET id = id + 3000000 WHERE id = 50`)
				m.exec(capability.Legacy, `UPDATE things SET id = id - 3000000 WHERE id = 3000050`)
			}
			m.script(capability.Extracted, alter)
			m.Mover = m.mover(thingsData(), 2)
			stop = m.follows(m.Mover)
			m.settled(capability.Legacy)
			m.verify(capability.Legacy, 0)
			stop() // and once more, with nothing to be read of the old form
			m.Mover = m.mover(thingsData(), 3)
			m.follows(m.Mover)
			rest()
			m.settled(capability.Legacy)
			m.verify(capability.Legacy, 0)
		})
	}
}

// TestAddedDroppedAndAddedAgain, each seen by itself: the rows that have the first
// column are not taken for rows with the second one.
func TestAddedDroppedAndAddedAgain(t *testing.T) { inEachCapture(t, testAddedDroppedAndAddedAgain) }

func testAddedDroppedAndAddedAgain(t *testing.T, kind capability.Capture) {
	m, rest := altering(t, kind)
	m.exec(capability.Legacy, `ALTER TABLE things ADD note text`)
	m.exec(capability.Legacy, `UPDATE things SET note = 'first' WHERE id = 5`)
	m.waits()
	m.exec(capability.Legacy, `ALTER TABLE things DROP note`)
	m.eventually("the move goes on", func() (bool, string) { return m.live(), m.Status().Error })
	m.exec(capability.Legacy, `ALTER TABLE things ADD note text`)
	m.exec(capability.Legacy, `UPDATE things SET note = 'second' WHERE id = 6`)
	m.waits()
	m.obeys()
	m.settled(capability.Legacy)
	rest()
	m.settled(capability.Legacy)
	m.verify(capability.Legacy, 0)
	if got := ask[string](m, capability.Extracted, `SELECT string_agg(id || note, ' ' ORDER BY id) FROM things`); got != "6second" {
		t.Errorf("notes: %s", got)
	}
}

// TestUnreadableFormsAreNotGuessed: two columns of one name came after each other
// while nobody looked.
func TestUnreadableFormsAreNotGuessed(t *testing.T) {
	inEachCapture(t, testUnreadableFormsAreNotGuessed)
}

func testUnreadableFormsAreNotGuessed(t *testing.T, kind capability.Capture) {
	m := newMigration(t, kind, things, thingsData()).created()
	m.follows(m.Mover)()
	m.script(capability.Legacy, `ALTER TABLE things ADD note text; UPDATE things SET note = 'first' WHERE id = 5; ALTER TABLE things DROP note; ALTER TABLE things DROP b; UPDATE things SET n = 0 WHERE id = 5;
		ALTER TABLE things ADD note text; UPDATE things SET note = 'second' WHERE id = 6`)
	m.script(capability.Extracted, `ALTER TABLE things ADD note text; ALTER TABLE things DROP b`)
	m.Mover = m.mover(thingsData(), 2)
	switch kind {
	case capability.CaptureTrigger: // rows tell how wide they are
		m.follows(m.Mover)
	default:
		if err := m.Run(t.Context()); !isHalt(err) || !strings.Contains(err.Error(), "strangler data repair") {
			t.Fatalf("read on: %v", err)
		}
		m.must(m.Recover(t.Context()))
		m.follows(m.Mover)
	}
	m.settled(capability.Legacy)
	m.verify(capability.Legacy, 0)
}

// TestATableThatIsRenamedBackGoesOn with what was written meanwhile; one that was
// made anew does not.
func TestATableThatIsRenamedBackGoesOn(t *testing.T) {
	inEachCapture(t, testATableThatIsRenamedBackGoesOn)
}

func testATableThatIsRenamedBackGoesOn(t *testing.T, kind capability.Capture) {
	m := newMigration(t, kind, things, thingsData()).created()
	why := m.untilItEnds()
	m.exec(capability.Legacy, `ALTER TABLE things RENAME TO others_of_those`)
	m.exec(capability.Legacy, `INSERT INTO others_of_those (n) VALUES (77)`)
	says(t, m.waits(), "no table things any more", "rename it back")
	m.exec(capability.Legacy, `ALTER TABLE others_of_those RENAME TO things`)
	m.eventually("the move goes on", func() (bool, string) { return m.live(), m.Status().Error })
	m.settled(capability.Legacy)
	m.verify(capability.Legacy, 0)
	m.exec(capability.Legacy, `ALTER TABLE things DROP CONSTRAINT things_pkey`)
	says(t, m.waits(), "has lost its key on the legacy side", "make (id) its primary key again")
	m.exec(capability.Legacy, `ALTER TABLE things ADD PRIMARY KEY (id)`)
	m.eventually("the move goes on", func() (bool, string) { return m.live(), m.Status().Error })
	m.exec(capability.Legacy, `DROP TABLE others; CREATE TABLE others (id bigserial PRIMARY KEY, n int NOT NULL DEFAULT 0)`)
	if told := why(); kind == capability.CaptureWAL {
		says(t, told, "table others of the legacy database was dropped and made anew", "strangler data reset")
	}
}

// TestTheDocumentMayFollowWhatWasAltered instead of the other side.
func TestTheDocumentMayFollowWhatWasAltered(t *testing.T) {
	inEachCapture(t, testTheDocumentMayFollowWhatWasAltered)
}

func testTheDocumentMayFollowWhatWasAltered(t *testing.T, kind capability.Capture) {
	m := newMigration(t, kind, things, thingsData()).created()
	stop := m.follows(m.Mover)
	m.script(capability.Legacy, `ALTER TABLE things RENAME a TO alpha; ALTER TABLE things ADD internal text; UPDATE things SET alpha = 'x', internal = 'y' WHERE id = 3`)
	says(t, m.waits(), "columns: {alpha: a}", "omit: [internal]")
	stop()
	data := func(renamed string) *capability.Data {
		d := thingsData()
		d.Capture, d.Tables[0].Columns, d.Tables[0].Omit = kind, map[string]string{"alpha": renamed}, []string{"internal"}
		return d
	}
	m.Mover = m.mover(data("a"), 2)
	stop = m.follows(m.Mover)
	m.settled(capability.Legacy)
	m.verify(capability.Legacy, 0)
	stop()
	m.exec(capability.Extracted, `ALTER TABLE things ADD another text`)
	if err := m.mover(data("another"), 3).Run(t.Context()); !errors.As(err, new(*migrate.HaltError)) || !strings.Contains(err.Error(), "another column alpha") {
		t.Errorf("another mapping: %v", err)
	}
}

// TestValuesOfTypesAreMissedEarly, before anybody uses them.
func TestValuesOfTypesAreMissedEarly(t *testing.T) {
	t.Parallel()
	m, rest := altering(t, capability.CaptureWAL)
	m.exec(capability.Legacy, `ALTER TYPE mood ADD VALUE 'great'`)
	m.eventually("it is told", func() (bool, string) {
		return m.live() && strings.Contains(m.Status().Error, "run in the extracted database: ALTER TYPE public.mood ADD VALUE 'great' AFTER 'ok'"), m.Status().Error
	})
	m.exec(capability.Extracted, `ALTER TYPE public.mood ADD VALUE 'great' AFTER 'ok'`)
	m.eventually("it is told no more", func() (bool, string) { return m.live() && m.Status().Error == "", m.Status().Error })
	m.exec(capability.Legacy, `UPDATE things SET feel = 'great' WHERE id = 5`)
	rest()
	m.settled(capability.Legacy)
	m.verify(capability.Legacy, 0)
}
