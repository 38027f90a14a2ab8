package postgres

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"strangler/capability"
	"strangler/migrate"
)

// hibernated is a schema as object mappers make it: the application asks sequences
// by name, and nothing in the tables says so.
const hibernated = `
	CREATE SEQUENCE hibernate_sequence; CREATE SEQUENCE "Lines_SEQ" AS int INCREMENT 50 CACHE 3;
	CREATE TABLE orders (id bigint PRIMARY KEY, note text);
	CREATE TABLE lines (id int PRIMARY KEY, order_id bigint REFERENCES orders);
	INSERT INTO orders SELECT nextval('hibernate_sequence'), 'n' FROM generate_series(1, 40);
	INSERT INTO lines SELECT (nextval('"Lines_SEQ"')), 1 FROM generate_series(1, 3);`

func hibernatedData() *capability.Data {
	data := tables("orders")
	data.Gap, data.Tables = 100, append(data.Tables, capability.Table{Table: "lines"})
	data.Sequences = []capability.Sequence{{Sequence: "hibernate_sequence", As: "service.order_numbers", Line: 30}, {Sequence: "Lines_SEQ", Line: 31}}
	return data
}

// TestPlanTellsOfKeysThatWritersMake: which keys nothing in the database makes, and
// which sequences may be asked for them.
func TestPlanTellsOfKeysThatWritersMake(t *testing.T) {
	t.Parallel()
	data := tables("orders")
	for _, name := range []string{"details", "ticked", "computed", "counted", "identified", "named", "pairs", "lent"} {
		data.Tables = append(data.Tables, capability.Table{Table: name})
	}
	data.Tables[8].Mode = capability.Copy
	m := newMigration(t, capability.CaptureWAL, `
		CREATE SEQUENCE hibernate_sequence; CREATE SEQUENCE ticks; CREATE SEQUENCE shared; CREATE SCHEMA apart; CREATE SEQUENCE apart.unseen;
		CREATE TABLE orders (id bigint PRIMARY KEY, owned int);
		CREATE SEQUENCE of_orders OWNED BY orders.owned;
		CREATE TABLE details (order_id bigint PRIMARY KEY REFERENCES orders);
		CREATE FUNCTION tick() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.id = nextval('ticks'); RETURN NEW; END $$;
		CREATE TABLE ticked (id int PRIMARY KEY); CREATE TRIGGER tick BEFORE INSERT ON ticked FOR EACH ROW EXECUTE FUNCTION tick();
		CREATE FUNCTION snowflake() RETURNS bigint LANGUAGE sql AS 'SELECT 1::bigint';
		CREATE TABLE computed (id bigint DEFAULT snowflake() PRIMARY KEY);
		CREATE TABLE counted (id int DEFAULT nextval('shared') PRIMARY KEY); CREATE TABLE identified (id smallint GENERATED ALWAYS AS IDENTITY PRIMARY KEY);
		CREATE TABLE named (name text PRIMARY KEY); CREATE TABLE pairs (a int, b int, PRIMARY KEY (a, b)); CREATE TABLE lent (id int PRIMARY KEY)`, data)
	plan, _, err := m.Plan(t.Context())
	m.must(err)
	var notes []string
	for _, n := range plan.Notes {
		if strings.Contains(n.Message, "by name") {
			notes = append(notes, n.Message+" / "+n.Mend)
		}
	}
	text := strings.Join(notes, "\n")
	for _, want := range []string{
		"the keys of orders (id) are made by the writers: ", "the keys of ticked (id) are drawn by a trigger: ", "the keys of computed (id) come from a default that names no sequence: ",
		"sequence hibernate_sequence fills no column", "- sequence: hibernate_sequence # under data.sequences.named", "sequence ticks fills no column",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("nothing of %q in\n%s", want, text)
		}
	}
	if len(notes) != 5 {
		t.Errorf("%d notes:\n%s", len(notes), text)
	}
	data.Sequences = []capability.Sequence{{Sequence: "hibernate_sequence"}, {Sequence: "gone", As: "went", Line: 12}}
	plan, problems, err := m.mover(data, 1).Plan(t.Context())
	m.must(err)
	text = fmt.Sprint(plan.Notes)
	if strings.Contains(text, "sequence hibernate_sequence fills") || !strings.Contains(text, "it names hibernate_sequence, gone") {
		t.Errorf("although the document names it: %s", text)
	}
	text = fmt.Sprint(problems)
	for _, want := range []string{"routes/orders.yaml:12", "the legacy database has no sequence gone", "the extracted database has no sequence went", "the extracted database has no sequence hibernate_sequence"} {
		if !strings.Contains(text, want) {
			t.Errorf("nothing of %q in %s", want, text)
		}
	}
}

// TestSequencesAskedByName: what the document names is made there, and set behind
// the other side's at each switch, so that no number is given out twice.
func TestSequencesAskedByName(t *testing.T) { inEachCapture(t, testSequencesAskedByName) }

func testSequencesAskedByName(t *testing.T, kind capability.Capture) {
	m := newMigration(t, kind, hibernated, hibernatedData()).created()
	plan, problems, err := m.Plan(t.Context())
	if err != nil || len(problems) > 0 || strings.Join(plan.Sequences, ", ") != "hibernate_sequence, Lines_SEQ" {
		t.Fatalf("plan: %q, %v, %v", plan.Sequences, problems, err)
	}
	if made := ask[string](m, capability.Extracted, `SELECT string_agg(format('%s %s %s %s %s', schemaname, sequencename, data_type, increment_by, cache_size), ', ' ORDER BY sequencename COLLATE "C") FROM pg_sequences`); made != "public Lines_SEQ integer 50 3, service order_numbers bigint 1 1" {
		t.Errorf("made: %s", made)
	}
	m.follows(m.Mover)
	m.verify(capability.Legacy, 0)
	// A session has drawn five numbers and not written them.
	m.exec(capability.Legacy, `SELECT nextval('hibernate_sequence') FROM generate_series(1, 5)`)
	m.switchTo(capability.Extracted)
	if n := ask[int64](m, capability.Extracted, `SELECT nextval('service.order_numbers')`); n != 146 {
		t.Errorf("the service's first number is %d, want 45, a gap of 100 and one", n)
	}
	if n := ask[int64](m, capability.Extracted, `SELECT nextval('"Lines_SEQ"')`); n != 101+100+50 {
		t.Errorf("the service's first block is %d", n)
	}
	m.exec(capability.Extracted, `INSERT INTO orders VALUES (146, 'of the service')`)
	m.settled(capability.Extracted)
	m.switchTo(capability.Legacy)
	if n := ask[int64](m, capability.Legacy, `SELECT nextval('hibernate_sequence')`); n != 247 {
		t.Errorf("legacy's next number is %d, want 146, a gap of 100 and one", n)
	}
	if n := ask[int64](m, capability.Legacy, `SELECT nextval('"Lines_SEQ"')`); n <= 251+100 {
		t.Errorf("legacy's next block is %d", n)
	}
	// Never back, however often, and whichever is further.
	m.exec(capability.Extracted, `SELECT setval('service.order_numbers', 1000000)`)
	for range 2 {
		m.must(m.CarrySequences(t.Context(), capability.Legacy, m.Document.Data))
		if last := ask[int64](m, capability.Extracted, `SELECT last_value FROM service.order_numbers`); last != 1000000 {
			t.Errorf("stands at %d", last)
		}
	}
	// The document's word of now counts, not that of when the mover began.
	later := *m.Document.Data
	later.Sequences = append(later.Sequences, capability.Sequence{Sequence: "late"})
	if err := m.CarrySequences(t.Context(), capability.Legacy, &later); err == nil || !strings.Contains(err.Error(), "has no sequence late") {
		t.Errorf("a sequence that is not there: %v", err)
	}
	m.exec(capability.Legacy, `CREATE SEQUENCE late START 7`)
	_, err = m.mover(&later, 2).Create(t.Context())
	m.must(err)
	m.must(m.CarrySequences(t.Context(), capability.Legacy, &later))
	if last := ask[int64](m, capability.Extracted, `SELECT last_value FROM late`); last != 106 {
		t.Errorf("stands at %d", last)
	}
}

// TestSequencesOfOneSideAlone: the application asks a sequence by name where the
// service's column has one of its own, and the other way round.
func TestSequencesOfOneSideAlone(t *testing.T) { inEachCapture(t, testSequencesOfOneSideAlone) }

func testSequencesOfOneSideAlone(t *testing.T, kind capability.Capture) {
	data := tables("orders")
	data.Gap = 10
	data.Tables = append(data.Tables, capability.Table{Table: "lines"}, capability.Table{Table: "tickets"}, capability.Table{Table: "codes"})
	data.Sequences = []capability.Sequence{{Sequence: "orders_seq", As: "orders_id_seq"}}
	m := newMigration(t, kind, `CREATE SEQUENCE orders_seq; CREATE TABLE orders (id bigint PRIMARY KEY); INSERT INTO orders SELECT nextval('orders_seq') FROM generate_series(1, 30);
		CREATE TABLE lines (id bigint PRIMARY KEY); INSERT INTO lines SELECT generate_series(1, 500); CREATE TABLE tickets (id bigserial PRIMARY KEY); INSERT INTO tickets SELECT FROM generate_series(1, 20);
		CREATE SEQUENCE coded; CREATE TABLE codes (code text DEFAULT 'C-' || nextval('coded') PRIMARY KEY); INSERT INTO codes SELECT FROM generate_series(1, 12)`, data)
	m.exec(capability.Extracted, `CREATE TABLE orders (id bigserial PRIMARY KEY); CREATE TABLE lines (id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY); CREATE TABLE tickets (id bigint PRIMARY KEY);
		CREATE SEQUENCE coded; CREATE TABLE codes (code text DEFAULT 'C-' || nextval('coded') PRIMARY KEY)`)
	plan, problems, err := m.Plan(t.Context())
	m.must(err)
	text := fmt.Sprint(plan.Notes)
	for _, want := range []string{"lines.id draws from a sequence in the extracted database and from none in the legacy one", "tickets.id draws from a sequence in the legacy database and from none in the extracted one", "sequence: tickets_id_seq, as: "} {
		if !strings.Contains(text, want) {
			t.Errorf("nothing of %q in %s; %v", want, text, problems)
		}
	}
	m.follows(m.Mover)
	m.verify(capability.Legacy, 0)
	m.switchTo(capability.Extracted)
	for statement, want := range map[string]string{`INSERT INTO orders DEFAULT VALUES RETURNING id::text`: "41", `INSERT INTO lines DEFAULT VALUES RETURNING id::text`: "511", `INSERT INTO codes DEFAULT VALUES RETURNING code`: "C-23"} {
		if got := ask[string](m, capability.Extracted, statement); got != want {
			t.Errorf("%s: %s, want %s", statement, got, want)
		}
	}
	m.exec(capability.Extracted, `INSERT INTO tickets VALUES (900)`)
	m.settled(capability.Extracted)
	m.switchTo(capability.Legacy)
	if n := ask[int64](m, capability.Legacy, `SELECT nextval('orders_seq')`); n != 52 {
		t.Errorf("legacy's next number is %d", n)
	}
	if n := ask[int64](m, capability.Legacy, `INSERT INTO tickets DEFAULT VALUES RETURNING id`); n != 911 {
		t.Errorf("legacy's next ticket is %d, want 900, a gap of 10 and one", n)
	}
}

// TestSequencesOfAnother: those that the mover's role may not set are refused, with
// a mend that works.
func TestSequencesOfAnother(t *testing.T) {
	t.Parallel()
	m := newMigration(t, capability.CaptureWAL, hibernated+`CREATE SCHEMA other; CREATE SEQUENCE other.counter; CREATE TABLE counted (id bigint DEFAULT nextval('other.counter') PRIMARY KEY)`, nil)
	data := hibernatedData()
	data.Tables = append(data.Tables, capability.Table{Table: "counted"})
	m.Mover = m.mover(data, 1)
	m.created()
	role := pgx.Identifier{"Setting " + m.name}.Sanitize()
	m.exec(capability.Legacy, `CREATE ROLE `+role+` LOGIN PASSWORD 'setting'; ALTER TABLE orders OWNER TO `+role+`; ALTER TABLE lines OWNER TO `+role+`; ALTER TABLE counted OWNER TO `+role)
	t.Cleanup(func() { m.exec(capability.Legacy, `DROP OWNED BY `+role+`; DROP ROLE `+role) })
	u, err := url.Parse(m.urls[capability.Legacy])
	m.must(err)
	u.User = url.UserPassword("Setting "+m.name, "setting")
	d, err := Open(t.Context(), capability.Legacy, u.String())
	m.must(err)
	defer d.Close()
	mover := m.through(capability.Legacy, d)
	mover.Document.Data = data
	_, problems, err := mover.Plan(t.Context())
	m.must(err)
	var refused []string
	for _, p := range problems {
		if strings.Contains(p.Message, "may not read and set sequence") {
			refused = append(refused, p.Message)
			m.exec(capability.Legacy, p.Mend)
		}
	}
	if len(refused) != 3 {
		t.Errorf("refused: %q", refused)
	}
	_, problems, err = mover.Plan(t.Context())
	m.must(err)
	if text := fmt.Sprint(problems); strings.Contains(text, "read and set") {
		t.Errorf("after the mends: %s", text)
	}
	for _, s := range []string{"hibernate_sequence", "Lines_SEQ"} {
		m.must(d.SetSequences(t.Context(), map[migrate.Relation]int64{{Schema: "public", Name: s}: 1000}))
	}
}

// TestSequencesThatGoRound: one that has begun anew goes on at the owner's number, there
// and back, although greater ones stand in the column.
func TestSequencesThatGoRound(t *testing.T) { inEachCapture(t, testSequencesThatGoRound) }

func testSequencesThatGoRound(t *testing.T, kind capability.Capture) {
	data := tables("orders")
	data.Gap = 50
	data.Sequences = []capability.Sequence{{Sequence: "codes"}}
	m := newMigration(t, kind, `CREATE TABLE orders (id int GENERATED BY DEFAULT AS IDENTITY (MAXVALUE 1000 CYCLE) PRIMARY KEY, note text);
		INSERT INTO orders (note) SELECT 'n' FROM generate_series(1, 1000); DELETE FROM orders WHERE id < 300; INSERT INTO orders (note) SELECT 'again' FROM generate_series(1, 5);
		CREATE SEQUENCE codes INCREMENT -1 MINVALUE 1 MAXVALUE 99 CYCLE; SELECT setval('codes', 3)`, data).created()
	plan, problems, err := m.Plan(t.Context())
	m.must(err)
	text := fmt.Sprint(plan.Notes)
	for _, want := range []string{"sequence orders_id_seq goes round (CYCLE, from 1 to 1000): a switch goes on 50 behind the owner's number, whatever stands in the columns", "sequence codes goes round (CYCLE, from 1 to 99): a switch goes on 9 behind"} {
		if !strings.Contains(text, want) {
			t.Errorf("nothing of %q in %s", want, text)
		}
	}
	if len(problems) > 0 {
		t.Errorf("refused: %v", problems)
	}
	m.follows(m.Mover)
	m.verify(capability.Legacy, 0)
	if text := m.foreseen(capability.Legacy); text != "" {
		t.Errorf("foreseen: %s", text)
	}
	for range 2 { // it may be repeated
		m.must(m.CarrySequences(t.Context(), capability.Legacy, m.Document.Data))
	}
	m.switchTo(capability.Extracted)
	if id := ask[int](m, capability.Extracted, `INSERT INTO orders (note) VALUES ('of the service') RETURNING id`); id != 56 {
		t.Errorf("the service's first number is %d, want 5, a gap of 50 and one", id)
	}
	if n := ask[int](m, capability.Extracted, `SELECT nextval('codes')`); n != 92 {
		t.Errorf("the service's first code is %d, want 3, nine further down by way of 99, and one", n)
	}
	m.settled(capability.Extracted)
	m.switchTo(capability.Legacy)
	if id := ask[int](m, capability.Legacy, `INSERT INTO orders (note) VALUES ('legacy again') RETURNING id`); id != 107 {
		t.Errorf("legacy's next number is %d, want 56, a gap of 50 and one", id)
	}
}

// TestSequencesAtTheirEnd: one that a switch could not set is told by the plan, and by
// every preflight with the rows in mind, before any write is held.
func TestSequencesAtTheirEnd(t *testing.T) {
	t.Parallel()
	data := tables("orders")
	data.Gap = 10000
	m := newMigration(t, capability.CaptureWAL, `CREATE TABLE orders (id smallserial PRIMARY KEY, part int GENERATED BY DEFAULT AS IDENTITY (MAXVALUE 1000 CYCLE)); SELECT setval('orders_id_seq', 30000), setval('orders_part_seq', 5)`, data).created()
	m.exec(capability.Extracted, `ALTER TABLE orders ALTER part SET NO CYCLE SET MAXVALUE 100`)
	plan, problems, err := m.Plan(t.Context())
	m.must(err)
	if len(problems) != 2 || !strings.Contains(problems[0].Message, "sequence orders_id_seq would stand at 40000, outside 1 to 32767") || !strings.Contains(problems[0].Mend, "lower sequences.gap, or ALTER SEQUENCE public.orders_id_seq AS bigint") ||
		!strings.Contains(problems[1].Message, "sequence orders_part_seq would stand at 104, outside 1 to 100") {
		t.Errorf("refused: %v", problems)
	}
	if text := fmt.Sprint(plan.Notes); !strings.Contains(text, "sequence orders_part_seq goes round on the legacy side only") || !strings.Contains(text, "ALTER SEQUENCE public.orders_part_seq CYCLE") {
		t.Errorf("noted: %s", text)
	}
	m.exec(capability.Extracted, `ALTER TABLE orders ALTER part SET CYCLE SET MAXVALUE 1000`)
	data.Gap = 100
	mover := m.mover(data, 2)
	m.Mover = mover
	m.follows(mover)
	m.exec(capability.Legacy, `INSERT INTO orders (id) VALUES (32700)`)
	m.settled(capability.Legacy)
	if text := m.foreseen(capability.Legacy); !strings.Contains(text, "sequence orders_id_seq would stand at 32800, outside 1 to 32767") || strings.Contains(text, "part") {
		t.Errorf("foreseen: %q", text)
	}
	_, problems, err = m.Plan(t.Context())
	m.must(err)
	if len(problems) > 0 {
		t.Errorf("what runs already is refused: %v", problems)
	}
	if stands := ask[int](m, capability.Extracted, `SELECT last_value FROM orders_id_seq`); stands != 1 {
		t.Errorf("a look has set it to %d", stands)
	}
	later := *data
	later.Sequences = []capability.Sequence{{Sequence: "gone"}}
	if reasons, err := m.Foresee(t.Context(), capability.Legacy, &later); err != nil || !strings.Contains(strings.Join(reasons, "\n"), "has no sequence gone") {
		t.Errorf("foreseen: %q, %v", reasons, err)
	}
}
