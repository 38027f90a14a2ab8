package testbed

import (
	"context"
	"fmt"
	"maps"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"testbed/cluster"
)

// quick are the settings of a cluster that nobody will miss: it may lose everything in a power cut, and only then.
// synchronous_commit stays on, because the product's promises are told by it.
var quick = map[string]string{
	"fsync":                  "off",
	"full_page_writes":       "off",
	"shared_buffers":         "64MB",
	"max_wal_size":           "256MB",
	"autovacuum_naptime":     "5s",
	"log_min_messages":       "warning",
	"log_checkpoints":        "off",
	"max_worker_processes":   "16",
	"wal_sender_timeout":     "10s",
	"timezone":               "UTC",
	"idle_session_timeout":   "0",
	"deadlock_timeout":       "200ms",
	"track_commit_timestamp": "off",
	"jit":                    "off", // takes longer than what a test asks
}

// adminsKept is how many sessions are kept for making and dropping databases.
const adminsKept = 2

// shared is a cluster started by the first test that needs it.
type shared struct {
	once   sync.Once
	url    func(database string) string
	err    error
	admins chan *pgx.Conn // kept between tests
}

// The two sides: most tests move something from one to the other, and a slot's name or a system identifier must differ.
var here, other shared

// template is what all clusters of the process are copies of, made by the first test that needs one.
var template struct {
	once sync.Once
	made *cluster.Template
	err  error
}

// Database creates an empty database for this test in the process's first cluster and returns its URL, as superuser. It is
// dropped when the test ends, with its sessions and replication slots. With TEST_DATABASE_URL set, that server is used.
func Database(t testing.TB) string {
	t.Helper()
	needsServers(t)
	return here.database(t, "")
}

// Sorted is Database in which texts sort by the rules of an ICU locale, such as de-DE, and not by their bytes.
func Sorted(t testing.TB, locale string) string {
	t.Helper()
	needsServers(t)
	return here.database(t, " locale_provider icu icu_locale '"+locale+"'")
}

// Other is Database in a second, separate cluster: the target's side. With TEST_DATABASE_URL set, it is the same server.
func Other(t testing.TB) string {
	t.Helper()
	needsServers(t)
	return other.database(t, "")
}

// Cluster starts a cluster for this test alone and stops it at the end. The settings are added to those of a throw-away
// cluster; nil is fine. TEST_DATABASE_URL does not matter here.
func Cluster(t testing.TB, settings map[string]string) *cluster.Postgres {
	t.Helper()
	needsServers(t)
	own, err := throwAway(t.Context(), cluster.Options{Settings: with(settings), Log: logger()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := own.Stop(); err != nil {
			t.Error(err)
		}
	})
	return own
}

// Standby starts a hot standby of a cluster for this test alone and stops it at the end.
func Standby(t testing.TB, of *cluster.Postgres) *cluster.Postgres {
	t.Helper()
	own, err := of.Standby(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := own.Stop(); err != nil {
			t.Error(err)
		}
	})
	return own
}

// throwAway starts a cluster that is a copy of the template.
func throwAway(ctx context.Context, options cluster.Options) (*cluster.Postgres, error) {
	template.once.Do(func() {
		// Not bounded by the first test's context: others wait for it. An installation may take its minutes.
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
		defer cancel()
		if template.made, template.err = cluster.NewTemplate(ctx, options.Log); template.err == nil {
			running.add(template.made.Remove)
		}
	})
	if template.err != nil {
		return nil, template.err
	}
	options.Template = template.made
	return cluster.Start(ctx, options)
}

// with is the quick settings with some replaced.
func with(settings map[string]string) map[string]string {
	all := maps.Clone(quick)
	maps.Copy(all, settings)
	return all
}

// start runs at most once per process; its failure is every test's failure.
func (s *shared) start() error {
	s.once.Do(func() {
		s.admins = make(chan *pgx.Conn, adminsKept)
		if existing := os.Getenv("TEST_DATABASE_URL"); existing != "" {
			s.url, s.err = replaceDatabase(existing)
			return
		}
		// Not bounded by the first test's context: the cluster outlives the test.
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		defer cancel()
		started, err := throwAway(ctx, cluster.Options{Settings: quick})
		if err != nil {
			s.err = fmt.Errorf("start a throw-away PostgreSQL: %w", err)
			return
		}
		running.add(started.Stop)
		s.url = started.URL
	})
	return s.err
}
