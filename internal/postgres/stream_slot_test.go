package postgres

import (
	"context"
	"strings"
	"testing"
	"time"

	"strangler/capability"
	"strangler/migrate"
)

// Whatever may have taken changes away ends the stream before it goes on.
func TestStreamRefusesToResume(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		side        capability.Side
		spoil, says string
	}{
		"slot is gone":      {capability.Legacy, `SELECT pg_drop_replication_slot('SLOT')`, "is gone"},
		"slot made anew":    {capability.Legacy, `SELECT pg_drop_replication_slot('SLOT'); INSERT INTO journal VALUES ('missed', 1); SELECT pg_create_logical_replication_slot('SLOT', 'pgoutput')`, "was made anew"},
		"other plugin":      {capability.Legacy, `SELECT pg_drop_replication_slot('SLOT'); SELECT pg_create_logical_replication_slot('SLOT', 'test_decoding')`, "is gone"},
		"another cluster":   {capability.Extracted, `UPDATE strangler.progress SET system = '1'`, "is not the one"},
		"another timeline":  {capability.Extracted, `UPDATE strangler.progress SET timeline = 9`, "is not the one"},
		"no progress":       {capability.Extracted, `DELETE FROM strangler.progress`, "no progress"},
		"progress set back": {capability.Extracted, `UPDATE strangler.progress SET position = '0/1'`, "was made anew"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFlow(t, capability.CaptureWAL, counters, counters, capability.Table{Table: "counter"}, capability.Table{Table: "journal"})
			s := f.follow(capability.Legacy)
			f.exec(capability.Legacy, `INSERT INTO journal VALUES ('1', 1)`)
			f.drain(s)
			s.stop()
			f.until("the walsender has left", func() bool {
				return f.text(capability.Legacy, `SELECT count(*)::text FROM pg_replication_slots WHERE active AND slot_name = $1`, slotName(f.name, capability.Legacy)) == "0"
			})
			for statement := range strings.SplitSeq(test.spoil, "; ") {
				f.exec(test.side, strings.ReplaceAll(statement, "SLOT", slotName(f.name, capability.Legacy)))
			}
			err := f.fails(f.start(f.stream(capability.Legacy)))
			if !isHalt(err) || !strings.Contains(err.Error(), test.says) {
				t.Errorf("ended with %v", err)
			}
		})
	}
}

// A slot whose log was taken away is named, not waited for.
func TestStreamEndsWhenLogIsLost(t *testing.T) {
	t.Parallel()
	own := cluster(t)
	f := newFlowIn(t, capability.CaptureWAL, own.URL("postgres"), counters, counters, capability.Table{Table: "counter"}, capability.Table{Table: "journal"})
	s := f.follow(capability.Legacy)
	f.drain(s)
	s.stop()
	f.exec(capability.Legacy, `ALTER SYSTEM SET max_slot_wal_keep_size = '1MB'`)
	f.exec(capability.Legacy, `SELECT pg_reload_conf()`)
	f.until("log is taken away", func() bool {
		for _, statement := range []string{`INSERT INTO journal SELECT gen_random_uuid()::text, 1 FROM generate_series(1, 1000)`, `SELECT pg_switch_wal()`, `CHECKPOINT`} {
			f.exec(capability.Legacy, statement)
		}
		return f.text(capability.Legacy, `SELECT wal_status FROM pg_replication_slots`) == "lost"
	})
	if err := f.fails(f.start(f.stream(capability.Legacy))); !isHalt(err) || !strings.Contains(err.Error(), "max_slot_wal_keep_size") {
		t.Errorf("ended with %v", err)
	}
}

// Publication and slot are made, found and removed; leftovers do no harm.
func TestCreateAndDropStream(t *testing.T) {
	t.Parallel()
	f := newFlow(t, capability.CaptureWAL, counters, counters, capability.Table{Table: "counter"}, capability.Table{Table: "journal"})
	d, relations := f.databases[capability.Legacy], []migrate.Relation{{Schema: "public", Name: "journal"}}
	f.must(d.DropStream(t.Context(), f.name))
	f.must(d.publish(t.Context(), f.name, relations)) // as an attempt that was interrupted leaves it
	f.exec(capability.Legacy, `INSERT INTO journal VALUES ('before', 1)`)
	snapshot, err := d.CreateStream(t.Context(), f.name, relations, true)
	f.must(err)
	f.exec(capability.Legacy, `INSERT INTO journal VALUES ('after', 1)`)
	if got := f.inSnapshot(snapshot, `SELECT string_agg(id, ',') FROM public.journal`); got != "before" {
		t.Errorf("the snapshot shows %q", got)
	}
	f.must(snapshot.Close())
	if exists, err := d.StreamExists(t.Context(), f.name); err != nil || !exists {
		t.Errorf("exists: %v, %v", exists, err)
	}
	if _, err := d.CreateStream(t.Context(), f.name, relations, false); err == nil || !strings.Contains(err.Error(), "exists already") {
		t.Errorf("made twice: %v", err)
	}
	f.must(d.DropStream(t.Context(), f.name))
	f.must(d.DropStream(t.Context(), f.name))
	if n := f.text(capability.Legacy, `SELECT ((SELECT count(*) FROM pg_publication) + (SELECT count(*) FROM pg_replication_slots WHERE slot_name = $1))::text`, slotName(f.name, capability.Legacy)); n != "0" {
		t.Errorf("%s publications and slots are left", n)
	}
}

// A snapshot that has to wait for writers ends in time and names them.
func TestSnapshotNamesWhomItWaitsFor(t *testing.T) {
	t.Parallel()
	f := newFlow(t, capability.CaptureWAL, counters, counters, capability.Table{Table: "counter"}, capability.Table{Table: "journal"})
	d := f.databases[capability.Legacy]
	writer, err := d.connect(t.Context(), nil)
	f.must(err)
	defer writer.Close(context.Background())
	_, err = writer.Exec(t.Context(), `BEGIN; INSERT INTO public.journal VALUES ('open', 1)`)
	f.must(err)
	bounded, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := d.TemporarySnapshot(bounded); err == nil || !strings.Contains(err.Error(), "pid "+f.text(capability.Legacy, `SELECT pid::text FROM pg_stat_activity WHERE datname = current_database() AND state = 'idle in transaction'`)) {
		t.Errorf("%v", err)
	}
	f.until("the attempt leaves nothing behind", func() bool {
		return f.text(capability.Legacy, `SELECT count(*)::text FROM pg_replication_slots WHERE database = current_database()`) == "0"
	})
}
