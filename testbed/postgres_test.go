package testbed

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
)

func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(t.Context()) })
	return conn
}

func one[T any](t *testing.T, conn *pgx.Conn, query string, args ...any) T {
	t.Helper()
	var value T
	if err := conn.QueryRow(t.Context(), query, args...).Scan(&value); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return value
}

func TestSidesAreSeparateServers(t *testing.T) {
	t.Parallel()
	const query = `select system_identifier::text from pg_control_system()`
	if connect(t, Database(t)).Config().Port == connect(t, Other(t)).Config().Port {
		t.Skip("both sides are the server of TEST_DATABASE_URL")
	}
	left, right := one[string](t, connect(t, Database(t)), query), one[string](t, connect(t, Other(t)), query)
	if left == right {
		t.Errorf("both sides have the system identifier %s", left)
	}
}

func TestDatabaseIsFreshAndCapable(t *testing.T) {
	t.Parallel()
	url := Database(t)
	conn := connect(t, url)
	if again := Database(t); again == url {
		t.Errorf("the same database twice: %s", url)
	}
	for query, want := range map[string]string{
		"show wal_level":       "logical",
		"show server_encoding": "UTF8",
	} {
		if got := one[string](t, conn, query); got != want {
			t.Errorf("%s = %s, want %s", query, got, want)
		}
	}
	if n := one[int](t, conn, `select count(*)::int from pg_class where relnamespace = 'public'::regnamespace`); n != 0 {
		t.Errorf("%d relations in a fresh database", n)
	}
}

// A test that dies in the middle leaves sessions, a slot and an active walsender behind: all of it must go.
func TestDatabaseIsDroppedWithSlotsAndSessions(t *testing.T) {
	t.Parallel()
	var url, name string
	var watcher *pgx.Conn
	t.Run("user", func(t *testing.T) {
		url = Database(t)
		session, err := pgx.Connect(t.Context(), url)
		if err != nil {
			t.Fatal(err)
		}
		name = one[string](t, session, "select current_database()")
		one[string](t, session, "select slot_name from pg_create_logical_replication_slot('left_behind_'||current_database(), 'pgoutput')")
		stream, err := pgx.Connect(t.Context(), url+"&replication=database")
		if err != nil {
			t.Fatal(err)
		}
		// A slot that is being created is an active one until the session ends.
		if _, err := stream.Exec(t.Context(), "CREATE_REPLICATION_SLOT busy_"+name+" TEMPORARY LOGICAL pgoutput", pgx.QueryExecModeSimpleProtocol); err != nil {
			t.Fatal(err)
		}
	})
	watcher = connect(t, Database(t))
	if n := one[int](t, watcher, "select count(*)::int from pg_database where datname = $1", name); n != 0 {
		t.Errorf("database %s is still there", name)
	}
	if n := one[int](t, watcher, "select count(*)::int from pg_replication_slots where database = $1", name); n != 0 {
		t.Errorf("%d slots of %s are still there", n, name)
	}
	if _, err := pgx.Connect(t.Context(), url); err == nil {
		t.Error("connected to a dropped database")
	}
}

func TestDatabaseNamesNeedNoQuotes(t *testing.T) {
	t.Parallel()
	for _, test := range []string{"TestA", "TestA/with_ä/and \"quotes\"; drop", strings.Repeat("TestVeryLong", 20), ""} {
		name := databaseName(test, 1<<62, 1<<30)
		if len(name) > 63 || !utf8.ValidString(name) || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789_") != "" {
			t.Errorf("databaseName(%q) = %q", test, name)
		}
	}
}

func TestExistingServersURL(t *testing.T) {
	t.Parallel()
	url, err := replaceDatabase("postgres://me:secret@db:5433/postgres?sslmode=require")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := url("t_1"), "postgres://me:secret@db:5433/t_1?sslmode=require"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if _, err := replaceDatabase("not a url"); err == nil {
		t.Error("nonsense was accepted as TEST_DATABASE_URL")
	}
}
