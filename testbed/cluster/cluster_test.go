package cluster

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

func start(t *testing.T, options Options) *Postgres {
	t.Helper()
	if testing.Short() {
		t.Skip("starts servers; run without -short")
	}
	p, err := Start(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Stop(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func ask(t *testing.T, p *Postgres, query string) string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), p.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	var value string
	if err := conn.QueryRow(t.Context(), query).Scan(&value); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return value
}

func TestSettings(t *testing.T) {
	t.Parallel()
	p := start(t, Options{Settings: map[string]string{"fsync": "off", "application_name": "it's ours", "max_connections": "20", "max_wal_senders": "10"}})
	for name, want := range map[string]string{
		"wal_level": "logical", "max_replication_slots": "100", "fsync": "off", "max_connections": "20",
		"listen_addresses": "127.0.0.1", "lc_collate": "C.UTF-8",
	} {
		if name == "lc_collate" && p.binaries.Version >= 16 {
			continue // no longer a setting
		}
		if got := ask(t, p, "show "+name); got != want {
			t.Errorf("%s = %s, want %s", name, got, want)
		}
	}
	if got := ask(t, p, "select boot_val||'|'||reset_val from pg_settings where name = 'application_name'"); got == "" {
		t.Error("no application_name")
	}
}

// ALTER SYSTEM must beat what was given at the start, or tests could not change a server.
func TestRestartKeepsDataPortAndAlterSystem(t *testing.T) {
	t.Parallel()
	p := start(t, Options{Settings: map[string]string{"fsync": "off", "work_mem": "5MB"}})
	conn, err := pgx.Connect(t.Context(), p.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	for _, statement := range []string{"create table kept as select 7 as n", "alter system set work_mem = '6MB'"} {
		if _, err := conn.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	busy := computing(t, p)
	port := p.Port()
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-p.Done():
	default:
		t.Error("Done is open after Kill")
	}
	if err := p.Restart(t.Context(), nil); err != nil { // refused while anything of the old server lives
		t.Fatal(err)
	}
	<-busy
	if p.Port() != port {
		t.Errorf("port %d after the restart, %d before", p.Port(), port)
	}
	if n := ask(t, p, "select n::text from kept"); n != "7" {
		t.Errorf("n = %s", n)
	}
	if got := ask(t, p, "show work_mem"); got != "6MB" {
		t.Errorf("work_mem = %s, want what ALTER SYSTEM said", got)
	}
}

// computing keeps a session busy with a query that never waits, so that it notices the server's death late. It returns when
// the query runs; the channel is closed when the session has ended.
func computing(t *testing.T, p *Postgres) <-chan struct{} {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), p.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		// Whether it ends with the query or with the server is a race that nobody cares for.
		_, _ = conn.Exec(t.Context(), "do $$ declare n bigint := 0; begin while n < 5000000 loop n := n + 1; end loop; end $$")
		_ = conn.Close(t.Context())
	}()
	deadline := time.Now().Add(10 * time.Second)
	for ask(t, p, "select count(*)::text from pg_stat_activity where state = 'active' and query like 'do $$%'") != "1" {
		if time.Now().After(deadline) {
			t.Fatal("the busy session does not start")
		}
	}
	return ended
}

func TestDirIsKeptAndFoundAgain(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "a", "b")
	first := start(t, Options{Dir: dir, Settings: map[string]string{"fsync": "off"}})
	id := ask(t, first, "select system_identifier::text from pg_control_system()")
	if err := first.Stop(); err != nil {
		t.Fatal(err)
	}
	second := start(t, Options{Dir: dir})
	if first.Dir() != second.Dir() {
		t.Errorf("moved from %s to %s", first.Dir(), second.Dir())
	}
	if again := ask(t, second, "select system_identifier::text from pg_control_system()"); again != id {
		t.Errorf("another cluster: %s, was %s", again, id)
	}
	if first.Dir() != dir { // the stand-in is ours to remove
		t.Cleanup(func() { _ = os.RemoveAll(first.Dir()) })
	}
}

func TestTemporaryFolderIsRemoved(t *testing.T) {
	t.Parallel()
	p := start(t, Options{Settings: map[string]string{"fsync": "off"}})
	if err := p.Stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(p.Dir()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("stat %s: %v", p.Dir(), err)
	}
}

func TestPasswordIsAskedFor(t *testing.T) {
	t.Parallel()
	p := start(t, Options{Password: "it's a:secret/", Settings: map[string]string{"fsync": "off"}})
	if got := ask(t, p, "show password_encryption"); got != "scram-sha-256" {
		t.Errorf("password_encryption = %s", got)
	}
	wrong := strings.Replace(p.URL("postgres"), "secret", "guess", 1)
	if _, err := pgx.Connect(t.Context(), wrong); err == nil {
		t.Error("a wrong password was let in")
	}
}

func TestServerHasItsOwnProcessGroup(t *testing.T) {
	t.Parallel()
	p := start(t, Options{Settings: map[string]string{"fsync": "off"}})
	group, err := syscall.Getpgid(p.PID())
	if err != nil {
		t.Fatal(err)
	}
	if group != p.PID() || group == syscall.Getpgrp() {
		t.Errorf("process group %d of server %d; ours is %d", group, p.PID(), syscall.Getpgrp())
	}
}

func TestTakenPortIsSaid(t *testing.T) {
	t.Parallel()
	p := start(t, Options{Settings: map[string]string{"fsync": "off"}})
	began := time.Now()
	_, err := Start(t.Context(), Options{Port: p.Port()})
	if !errors.Is(err, errPortTaken) {
		t.Errorf("second server on port %d: %v", p.Port(), err)
	}
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("took %s to say so", took)
	}
}

// Whoever compares system identifiers must see different clusters, and what one writes is not the other's.
func TestCopiesOfATemplateAreClustersOfTheirOwn(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("starts servers; run without -short")
	}
	template, err := NewTemplate(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	options := Options{Template: template, Settings: map[string]string{"fsync": "off"}}
	copies := []*Postgres{start(t, options), start(t, options)}
	if err := template.Remove(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(template.of.Dir()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("stat %s: %v", template.of.Dir(), err)
	}
	seen := map[string]bool{}
	for _, p := range copies {
		if id := ask(t, p, "select system_identifier::text from pg_control_system()"); seen[id] {
			t.Errorf("two clusters have the system identifier %s", id)
		} else {
			seen[id] = true
		}
		if got := ask(t, p, "show wal_level"); got != "logical" {
			t.Errorf("wal_level = %s", got)
		}
		if err := p.Restart(t.Context(), nil); err != nil { // reads its log and its control file again
			t.Fatal(err)
		}
		if id := ask(t, p, "select system_identifier::text from pg_control_system()"); !seen[id] {
			t.Errorf("another system identifier after a restart: %s", id)
		}
	}
	standby, err := copies[0].Standby(t.Context()) // streams, for which primary and log have to agree on the identifier
	if err != nil {
		t.Fatal(err)
	}
	if err := standby.Stop(); err != nil {
		t.Error(err)
	}
}
