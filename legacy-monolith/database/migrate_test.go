package database

import (
	"io/fs"
	"strings"
	"sync"
	"testing"
	"time"

	"testbed"
)

func TestMain(m *testing.M) { testbed.Main(m) }

func TestMigrateOnceEach(t *testing.T) {
	t.Parallel()
	pool, err := Connect(t.Context(), testbed.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	files, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		t.Fatal(err)
	}
	// Processes that start at once: one of them does the work.
	var wait sync.WaitGroup
	counts := make([]int, 4)
	for i := range counts {
		wait.Go(func() {
			applied, err := Migrate(t.Context(), pool)
			if err != nil {
				t.Error(err)
			}
			counts[i] = len(applied)
		})
	}
	wait.Wait()
	total := 0
	for _, count := range counts {
		if count != 0 && count != len(files) {
			t.Errorf("one process applied %d of %d migrations", count, len(files))
		}
		total += count
	}
	if total != len(files) {
		t.Errorf("%d migrations were applied, want %d", total, len(files))
	}
}

func TestTimesAreUTC(t *testing.T) {
	t.Parallel()
	pool, err := Connect(t.Context(), testbed.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	var at time.Time
	if err := pool.QueryRow(t.Context(), `select timestamptz '2026-01-01 12:00+05'`).Scan(&at); err != nil {
		t.Fatal(err)
	}
	if got := at.Format(time.RFC3339); got != "2026-01-01T07:00:00Z" {
		t.Errorf("time is %s", got)
	}
}

func TestConnectSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"postgres://127.0.0.1:port":                     "parse database url",
		"postgres://127.0.0.1:1/shop?connect_timeout=2": "reach database",
	} {
		if _, err := Connect(t.Context(), url); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error is %v, want %q", url, err, want)
		}
	}
}
