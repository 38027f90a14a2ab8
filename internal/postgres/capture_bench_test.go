package postgres

import (
	"fmt"
	"testing"

	"strangler/capability"
	"strangler/migrate"
)

// BenchmarkCapturedWrites is what a writer pays: one row a transaction, and a
// thousand rows in one, without capture and with each kind of it.
func BenchmarkCapturedWrites(b *testing.B) {
	for _, kind := range []capability.Capture{"none", capability.CaptureWAL, capability.CaptureTrigger} {
		for _, rows := range []int{1, 1000} {
			b.Run(fmt.Sprintf("%s/%d", kind, rows), func(b *testing.B) {
				const ddl = `CREATE TABLE t (id int PRIMARY KEY, at timestamptz DEFAULT now(), total numeric DEFAULT 12.50, note text DEFAULT 'some words of an order', n int)`
				f := newFlow(b, capability.CaptureWAL, ddl, ddl, capability.Table{Table: "t"})
				f.exec(capability.Legacy, `INSERT INTO t (id, n) SELECT i, 0 FROM generate_series(1, 1000) i`)
				if kind != "none" {
					capture := f.databases[capability.Legacy].Capture(kind, f.name)
					snapshot, err := capture.CreateStream(b.Context(), []migrate.Relation{{Schema: "public", Name: "t"}}, false)
					f.must(err)
					f.must(snapshot.Close())
				}
				conn, err := f.databases[capability.Legacy].connect(b.Context(), map[string]string{"search_path": "public"})
				f.must(err)
				defer conn.Close(b.Context()) //nolint:errcheck // the benchmark's
				b.ResetTimer()
				for n := range b.N {
					first, last := 1+n%1000, 1+n%1000
					if rows > 1 {
						first, last = 1, rows
					}
					if _, err := conn.Exec(b.Context(), `UPDATE t SET n = n + 1 WHERE id BETWEEN $1 AND $2`, first, last); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(b.N*rows)/b.Elapsed().Seconds(), "rows/s")
			})
		}
	}
}
