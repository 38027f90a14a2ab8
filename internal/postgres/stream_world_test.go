package postgres

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"strangler/capability"
	"strangler/migrate"
	"testbed"
	clusters "testbed/cluster"
)

// flow is a capability with tables on both sides and streams between them. The
// capability's name is the test's own: slots and origins belong to a cluster.
type flow struct {
	t         testing.TB
	name      string
	kind      capability.Capture
	databases map[capability.Side]*Database
	pairs     []migrate.Pair
	streams   map[capability.Side]*migrate.Stream
	scripts   *questions // sessions of exec
}

// inEachCapture runs a test with every way of reading changes, beside one another.
func inEachCapture(t *testing.T, test func(t *testing.T, kind capability.Capture)) {
	t.Helper()
	t.Parallel()
	for _, kind := range capability.Captures {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			test(t, kind)
		})
	}
}

// inEachCaptureInTurn is for tests that measure the process.
func inEachCaptureInTurn(t *testing.T, test func(t *testing.T, kind capability.Capture)) {
	t.Helper()
	for _, kind := range capability.Captures {
		t.Run(string(kind), func(t *testing.T) { test(t, kind) })
	}
}

// capture is how a side's changes are read.
func (f *flow) capture(side capability.Side) migrate.Capture {
	return f.databases[side].Capture(f.kind, f.name)
}

// newFlow runs the DDL on both sides, or each side's own where both are given,
// and maps all tables of the schema public and, through the document's renames,
// those that are named differently.
func newFlow(t testing.TB, kind capability.Capture, legacy, extracted string, tables ...capability.Table) *flow {
	t.Helper()
	return newFlowIn(t, kind, testbed.Database(t), legacy, extracted, tables...)
}

// cluster is a server for a test that changes it, or needs it quiet.
func cluster(t testing.TB) *clusters.Postgres {
	t.Helper()
	return testbed.Cluster(t, nil)
}

// newFlowIn is newFlow with a legacy database of the test's own.
func newFlowIn(t testing.TB, kind capability.Capture, url, legacy, extracted string, tables ...capability.Table) *flow {
	t.Helper()
	f := &flow{t: t, kind: kind, name: "flow-" + strings.ToLower(rand.Text()[:10]), databases: map[capability.Side]*Database{}, streams: map[capability.Side]*migrate.Stream{}, scripts: &questions{kept: map[string]*pgx.Conn{}}}
	t.Cleanup(f.scripts.close)
	urls := map[capability.Side]string{capability.Legacy: url, capability.Extracted: testbed.Other(t)}
	for side, ddl := range map[capability.Side]string{capability.Legacy: legacy, capability.Extracted: extracted} {
		d, err := Open(t.Context(), side, urls[side])
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(d.Close)
		f.databases[side] = d
		if err := d.Install(t.Context()); err != nil {
			t.Fatal(err)
		}
		f.exec(side, "SET search_path = public; "+ddl)
		t.Cleanup(func() { // origins are the cluster's
			if err := d.DropOrigin(context.Background(), f.name, side.Other()); err != nil {
				t.Error(err)
			}
		})
	}
	for _, doc := range tables {
		if doc.As == "" {
			doc.As = doc.Table
		}
		p, problems := migrate.NewPair(doc, f.table(capability.Legacy, doc.Table), f.table(capability.Extracted, doc.As))
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		f.pairs = append(f.pairs, p)
	}
	return f
}

// table reads what a mapping needs.
func (f *flow) table(side capability.Side, name string) migrate.Table {
	f.t.Helper()
	tables, err := f.databases[side].Tables(f.t.Context(), []migrate.Relation{migrate.ParseRelation(name)})
	f.must(err)
	return tables[0]
}

// exec runs a script as the mover's role, outside the mover.
func (f *flow) exec(side capability.Side, script string) {
	f.t.Helper()
	if err := f.scripts.script(string(side), script, func() (*pgx.Conn, error) {
		return f.databases[side].connect(f.t.Context(), map[string]string{"search_path": "public"})
	}); err != nil {
		f.t.Fatalf("%s: %v", script, err)
	}
}

// text asks one side for one value.
func (f *flow) text(side capability.Side, query string, args ...any) string {
	f.t.Helper()
	var s string
	if err := f.databases[side].pool.QueryRow(f.t.Context(), query, args...).Scan(&s); err != nil {
		f.t.Fatalf("%s: %v", query, err)
	}
	return s
}

// prepare makes capture and progress of the stream from a side.
func (f *flow) prepare(from capability.Side) {
	f.t.Helper()
	source, target := f.capture(from), f.databases[from.Other()]
	var relations []migrate.Relation
	for _, p := range f.pairs {
		relations = append(relations, p.On(from).Relation)
	}
	snapshot, err := source.CreateStream(f.t.Context(), relations, false)
	f.must(err)
	f.must(snapshot.Close())
	identity, err := source.Identity(f.t.Context())
	f.must(err)
	f.must(target.BeginProgress(f.t.Context(), migrate.Progress{Capability: f.name, From: from, Position: snapshot.Position, Source: identity}))
}

// stream makes a stream over what prepare made; run it with start.
func (f *flow) stream(from capability.Side) *migrate.Stream {
	s := migrate.NewStream(migrate.StreamOptions{
		Capability: f.name, From: from, Mappings: f.mappings(from), Source: f.capture(from), Target: f.databases[from.Other()], Log: slog.New(slog.DiscardHandler),
	})
	f.streams[from] = s
	return s
}

func (f *flow) mappings(from capability.Side) (mappings []migrate.Mapping) {
	for _, p := range f.pairs {
		mappings = append(mappings, p.Direct(from))
	}
	return mappings
}

// running is a stream that a test has started.
type running struct {
	*migrate.Stream
	stop  func()
	ended chan error
}

// start runs the stream until the test ends or it is stopped.
func (f *flow) start(s *migrate.Stream) *running {
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{Stream: s, ended: make(chan error, 1)}
	r.stop = func() {
		cancel()
		r.ended <- <-r.ended // stays readable
	}
	go func() { r.ended <- s.Run(ctx) }()
	f.t.Cleanup(r.stop)
	return r
}

// follow prepares and starts the stream from a side.
func (f *flow) follow(from capability.Side) *running {
	f.t.Helper()
	f.prepare(from)
	return f.start(f.stream(from))
}

// drain waits until everything committed on the stream's source is applied.
func (f *flow) drain(r *running) {
	f.t.Helper()
	nonce := rand.Text()
	f.exec(r.From, "SELECT strangler.write_marker('"+f.name+"', '"+nonce+"')")
	ctx, cancel := context.WithTimeout(f.t.Context(), patience)
	defer cancel()
	if err := r.WaitMarker(ctx, nonce); err != nil {
		f.t.Fatalf("drain from %s: %v; %+v", r.From, err, r.Status())
	}
}

// fails waits for the stream to end for good, and returns why.
func (f *flow) fails(r *running) error {
	f.t.Helper()
	select {
	case err := <-r.ended:
		r.ended <- err
		if err == nil {
			f.t.Fatal("the stream ended without an error")
		}
		return err
	case <-time.After(patience):
		f.t.Fatalf("the stream did not end: %+v", r.Status())
		return nil
	}
}

// rows is a table's content as text, in the order of the key's text.
func (f *flow) rows(side capability.Side, table, columns string) string {
	f.t.Helper()
	return f.text(side, `SELECT coalesce(string_agg(r::text, E'\n' ORDER BY r::text COLLATE "C"), '') FROM (SELECT `+columns+` FROM public.`+table+`) r`)
}

// same compares a table's content on both sides; the names may differ.
func (f *flow) same(legacy, extracted, columns, renamed string) {
	f.t.Helper()
	if l, e := f.rows(capability.Legacy, legacy, columns), f.rows(capability.Extracted, extracted, renamed); l != e {
		f.t.Errorf("%s differs:\nlegacy:\n%s\nextracted:\n%s", legacy, l, e)
	}
}

func (f *flow) must(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

func isHalt(err error) bool {
	var halt *migrate.HaltError
	return errors.As(err, &halt)
}
