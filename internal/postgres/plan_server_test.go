package postgres

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"strangler/capability"
	"strangler/migrate"
	"testbed"
)

// TestPlanTellsOfTheServer: what is missing, who else is there, and what a move
// would wait for now; with a server of its own.
func TestPlanTellsOfTheServer(t *testing.T) {
	t.Parallel()
	own := cluster(t)
	m := newMigration(t, capability.CaptureWAL, "", tables("t"))
	m.urls[capability.Legacy] = own.URL("postgres")
	m.exec(capability.Legacy, plain)
	for _, statement := range []string{`ALTER SYSTEM SET max_prepared_transactions = 5`, `ALTER SYSTEM SET max_connections = 20`, `ALTER SYSTEM SET max_wal_senders = 4`, `ALTER SYSTEM SET max_replication_slots = 5`, `ALTER SYSTEM SET wal_level = logical`} {
		m.exec(capability.Legacy, statement)
	}
	m.must(own.Restart(t.Context(), nil))
	m.exec(capability.Legacy, `SELECT pg_create_logical_replication_slot('lake', 'pgoutput'), pg_create_physical_replication_slot('standby')`)
	m.exec(capability.Legacy, `CREATE DATABASE neighbour`)
	m.exec(capability.Legacy, `BEGIN; INSERT INTO t VALUES (1, 'a'); PREPARE TRANSACTION 'it''s left'`)
	m.exec(capability.Extracted, plain)
	held := m.holding(own.URL("neighbour"), `CREATE TABLE held ()`)
	d, err := Open(t.Context(), capability.Legacy, own.URL("postgres"))
	m.must(err)
	defer d.Close()
	mover := m.through(capability.Legacy, d)
	var text string
	m.eventually("the transaction is old enough to be told of", func() (bool, string) {
		plan, problems, err := mover.Plan(t.Context())
		m.must(err)
		text = fmt.Sprint(problems, plan.Settings)
		return strings.Contains(text, fmt.Sprintf("process %d", held)), text
	})
	for _, want := range []string{
		fmt.Sprintf("SELECT pg_terminate_backend(%d);", held), "in database neighbour writes since", "idle in transaction for",
		`prepared transaction "it's left" of`, `in database postgres: COMMIT PREPARED or ROLLBACK PREPARED 'it''s left';`,
		"connections are taken; the mover needs up to 16", "ALTER SYSTEM SET max_connections = ",
		"2 of 5 replication slots are taken", "ALTER SYSTEM SET max_replication_slots = 13; -- then restart the server",
		"1 logical decoders of others (lake (idle, keeps", "max_slot_wal_keep_size is -1", "ALTER SYSTEM SET max_slot_wal_keep_size = '10GB'; SELECT pg_reload_conf();",
		"must be free on its disk", "free disk is not visible by SQL",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("nothing of %q in %s", want, text)
		}
	}
	server, err := d.Server(t.Context())
	m.must(err)
	if server.Standby || server.Pooled || server.Database != "postgres" || server.Extensions["citext"] == "" || server.LogRate <= 0 || server.Collation.Name == "" || server.Blind {
		t.Errorf("%+v", server)
	}
}

// through makes a mover that reaches one side by other connections.
func (m *migration) through(side capability.Side, d *Database) *migrate.Mover {
	other := *m
	other.databases = map[capability.Side]*Database{side: d, side.Other(): m.databases[side.Other()]}
	return other.mover(m.Document.Data, 1)
}

// holding opens a transaction that writes and leaves it open until the test ends;
// it returns the process number of its session.
func (m *migration) holding(dsn, statement string) uint32 {
	m.t.Helper()
	conn, err := pgx.Connect(context.Background(), dsn)
	m.must(err)
	m.t.Cleanup(func() { conn.Close(context.Background()) }) //nolint:errcheck // test session
	_, err = conn.PgConn().Exec(context.Background(), `BEGIN; `+statement).ReadAll()
	m.must(err)
	return conn.PgConn().PID()
}

// pooler stands between clients and a server as pgbouncer does: it makes up the
// process number that it tells its clients, or refuses the settings of a session.
func pooler(t *testing.T, server string, refuse bool) string {
	t.Helper()
	return between(t, server, refuse, func(kind byte, body []byte) []byte {
		if kind == 'K' {
			binary.BigEndian.PutUint32(body, 7)
		}
		return body
	})
}

// between stands between clients and a server and changes what the server says.
func between(t *testing.T, server string, refuse bool, change func(kind byte, body []byte) []byte) string {
	t.Helper()
	target, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	t.Cleanup(func() { _ = listener.Close(); all.Wait() })
	all.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer client.Close() //nolint:errcheck // a relay
				if refuse {
					text := "SFATAL\x00C08P01\x00Munsupported startup parameter: search_path\x00\x00"
					_, _ = client.Write(append(binary.BigEndian.AppendUint32([]byte{'E'}, uint32(len(text)+4)), text...))
					return
				}
				upstream, err := net.Dial("tcp", target.Host)
				if err != nil {
					return
				}
				defer upstream.Close() //nolint:errcheck // a relay
				all.Go(func() { _, _ = io.Copy(upstream, client); _ = upstream.(*net.TCPConn).CloseWrite() })
				relay(client, upstream, change)
			})
		}
	})
	through := *target
	through.Host = listener.Addr().String()
	query := through.Query()
	query.Set("sslmode", "disable")
	through.RawQuery = query.Encode()
	return through.String()
}

// relay passes a server's messages on, changed.
func relay(client io.Writer, server io.Reader, change func(kind byte, body []byte) []byte) {
	for {
		head := make([]byte, 5)
		if _, err := io.ReadFull(server, head); err != nil {
			return
		}
		body := make([]byte, binary.BigEndian.Uint32(head[1:])-4)
		if _, err := io.ReadFull(server, body); err != nil {
			return
		}
		body = change(head[0], body)
		binary.BigEndian.PutUint32(head[1:], uint32(len(body)+4))
		if _, err := client.Write(append(head, body...)); err != nil {
			return
		}
	}
}

func TestPoolersAreRefused(t *testing.T) {
	t.Parallel()
	m := newMigration(t, capability.CaptureWAL, plain, tables("t"))
	m.exec(capability.Extracted, plain)
	for _, side := range capability.Sides {
		d, err := Open(t.Context(), side, pooler(t, m.urls[side], false))
		m.must(err)
		_, problems, err := m.through(side, d).Plan(t.Context())
		m.must(err)
		if len(problems) != 1 || !strings.Contains(problems[0].String(), "ends at a pooler") || !strings.Contains(problems[0].Mend, "past pgbouncer") || problems[0].Path != string(side)+" database" {
			t.Errorf("%s: %v", side, problems)
		}
		d.Close()
	}
	if _, err := Open(t.Context(), capability.Legacy, pooler(t, m.urls[capability.Legacy], true)); err == nil || !strings.Contains(err.Error(), "address is that of a connection pooler") {
		t.Errorf("%v", err)
	}
}

func TestOldServersAreRefused(t *testing.T) {
	t.Parallel()
	m := newMigration(t, capability.CaptureWAL, plain, tables("t"))
	old := between(t, m.urls[capability.Legacy], false, func(kind byte, body []byte) []byte {
		if kind == 'S' && strings.HasPrefix(string(body), "server_version\x00") {
			return []byte("server_version\x0014.9 (Debian)\x00")
		}
		return body
	})
	if _, err := Open(t.Context(), capability.Legacy, old); err == nil || !strings.Contains(err.Error(), "PostgreSQL 14.9 (Debian); 15 or later is needed") {
		t.Errorf("%v", err)
	}
}

// TestABlindRoleIsTold: it gets the statement that opens its eyes, and others
// that use the mover's role are named.
func TestABlindRoleIsTold(t *testing.T) {
	t.Parallel()
	m := newMigration(t, capability.CaptureWAL, plain, tables("t"))
	m.exec(capability.Extracted, plain)
	role := pgx.Identifier{"Blind " + m.name}.Sanitize()
	m.exec(capability.Legacy, `CREATE ROLE `+role+` LOGIN PASSWORD 'blind'; GRANT SELECT ON t TO `+role)
	t.Cleanup(func() { m.exec(capability.Legacy, `DROP OWNED BY `+role+`; DROP ROLE `+role) })
	u, err := url.Parse(m.urls[capability.Legacy])
	m.must(err)
	u.User = url.UserPassword("Blind "+m.name, "blind")
	d, err := Open(t.Context(), capability.Legacy, u.String())
	m.must(err)
	defer d.Close()
	query := u.Query()
	query.Set("application_name", "shop")
	u.RawQuery = query.Encode()
	shop, err := pgx.Connect(t.Context(), u.String())
	m.must(err)
	defer shop.Close(context.Background()) //nolint:errcheck // test session
	plan, _, err := m.through(capability.Legacy, d).Plan(t.Context())
	m.must(err)
	text := fmt.Sprint(plan.Settings)
	if !strings.Contains(text, "GRANT pg_read_all_stats TO "+role+";") {
		t.Errorf("nothing of the right: %s", text)
	}
	m.exec(capability.Legacy, `GRANT pg_read_all_stats TO `+role)
	plan, _, err = m.through(capability.Legacy, d).Plan(t.Context())
	m.must(err)
	text = fmt.Sprint(plan.Settings)
	if strings.Contains(text, "pg_read_all_stats") || !strings.Contains(text, "(shop)") {
		t.Errorf("after the right was given: %s", text)
	}
}

// TestOwnSlotsAreNoOthers: a move that runs does not count its own slots among
// those of others.
func TestOwnSlotsAreNoOthers(t *testing.T) {
	t.Parallel()
	m := newMigration(t, capability.CaptureWAL, plain, tables("t"))
	m.created()
	m.follows(m.Mover)
	plan, problems, err := m.Plan(t.Context())
	m.must(err)
	if len(problems) > 0 || !plan.Begun || strings.Contains(fmt.Sprint(plan.Settings), slotName(m.name, capability.Legacy)) || !strings.Contains(plan.Happens[0], "has begun") {
		t.Errorf("%v, %+v", problems, plan)
	}
}

func TestOtherEncodingsAreRefused(t *testing.T) {
	t.Parallel()
	m := newMigration(t, capability.CaptureWAL, plain, tables("t"))
	m.exec(capability.Extracted, plain)
	for encoding, want := range map[string]string{"SQL_ASCII": "bytes of any encoding", "LATIN1": "cannot be compared exactly"} {
		name := strings.ToLower("t_" + encoding + strings.ReplaceAll(m.name, "-", "_"))
		m.exec(capability.Legacy, `CREATE DATABASE `+name+` ENCODING '`+encoding+`' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0`)
		t.Cleanup(func() { m.exec(capability.Legacy, `DROP DATABASE `+name+` WITH (FORCE)`) })
		u, err := url.Parse(m.urls[capability.Legacy])
		m.must(err)
		u.Path = "/" + name
		d, err := Open(t.Context(), capability.Legacy, u.String())
		m.must(err)
		_, err = d.pool.Exec(t.Context(), `CREATE TABLE public.t (id int PRIMARY KEY, v text)`)
		m.must(err)
		_, problems, err := m.through(capability.Legacy, d).Plan(t.Context())
		m.must(err)
		if text := fmt.Sprint(problems); len(problems) != 1 || !strings.Contains(text, "encoded in "+encoding) || !strings.Contains(text, want) || !strings.Contains(text, "UTF8") {
			t.Errorf("%s: %s", encoding, text)
		}
		d.Close()
	}
}

// TestServerTellsOfAVacuumThatWrites: a worker of the server's own has no role.
func TestServerTellsOfAVacuumThatWrites(t *testing.T) {
	t.Parallel()
	own := testbed.Cluster(t, map[string]string{"autovacuum_naptime": "1s"})
	d, err := Open(t.Context(), capability.Legacy, own.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	// The worker analyzes an index whose function writes, and takes its time.
	_, err = d.pool.Exec(t.Context(), `SET search_path = public;
		CREATE FUNCTION slowly(n int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN
			IF EXISTS (SELECT FROM pg_stat_activity WHERE pid = pg_backend_pid() AND backend_type = 'autovacuum worker') THEN
				PERFORM pg_current_xact_id(), pg_sleep(0.1);
			END IF;
			RETURN n;
		END $$;
		CREATE TABLE t AS SELECT generate_series(1, 200) AS n; CREATE INDEX ON t (slowly(n))`)
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		server, err := d.Server(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if slices.ContainsFunc(server.Waits, func(w migrate.Waiting) bool { return w.User == "autovacuum worker" && w.Does == "active" }) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("never: %+v", server.Waits)
		}
	}
}
