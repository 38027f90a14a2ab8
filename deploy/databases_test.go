package deploy_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"testbed/cluster"
)

// startDatabase runs one of the PostgreSQL services as its image would: a server with the superuser's password, then the
// mounted scripts by psql, with the service's environment.
func startDatabase(t *testing.T, s service) *cluster.Postgres {
	t.Helper()
	if testing.Short() {
		t.Skip("starts servers; run without -short")
	}
	p, err := cluster.Start(t.Context(), cluster.Options{
		Password: s.Environment["POSTGRES_PASSWORD"], Settings: settings(t, s.Command),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Stop(); err != nil {
			t.Error(err)
		}
	})
	for _, volume := range s.Volumes {
		source, target, _ := strings.Cut(volume, ":")
		if !strings.HasPrefix(target, "/docker-entrypoint-initdb.d/") {
			continue
		}
		cmd := exec.Command(p.Binaries().Path("psql"), "--no-psqlrc", "--file="+source, p.URL("postgres"))
		cmd.Env = os.Environ()
		for name, value := range s.Environment {
			cmd.Env = append(cmd.Env, name+"="+value)
		}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", source, err, out)
		}
	}
	return p
}

// settings are what the command line gives the server, on top of what makes it quick.
func settings(t *testing.T, command []string) map[string]string {
	t.Helper()
	all := map[string]string{"fsync": "off"}
	if len(command) == 0 || command[0] != "postgres" {
		t.Fatalf("not a server's command line: %v", command)
	}
	for i := 1; i+1 < len(command); i += 2 {
		name, value, ok := strings.Cut(command[i+1], "=")
		if command[i] != "-c" || !ok {
			t.Fatalf("not a setting: %s %s", command[i], command[i+1])
		}
		all[name] = value
	}
	return all
}

func TestEachRoleReachesItsOwnDatabaseOnly(t *testing.T) {
	t.Parallel()
	c := readCompose(t)
	servers := map[string]*cluster.Postgres{
		"legacy-db":    startDatabase(t, c.Services["legacy-db"]),
		"extracted-db": startDatabase(t, c.Services["extracted-db"]),
	}
	connections := 0
	for name, s := range c.Services {
		for variable, value := range s.Environment {
			if !strings.HasPrefix(value, "postgres://") {
				continue
			}
			connections++
			config, err := pgxpool.ParseConfig(atServer(t, value, servers)) // as the services read it: it may say how many sessions they open
			if err != nil {
				t.Fatal(err)
			}
			conn, err := pgx.ConnectConfig(t.Context(), config.ConnConfig)
			if err != nil {
				t.Errorf("%s %s: %v", name, variable, err)
				continue
			}
			checkRole(t, name+" "+variable, conn)
			_ = conn.Close(t.Context())
		}
	}
	if connections < 6 {
		t.Errorf("only %d connection strings found", connections)
	}
	foreign := atServer(t, "postgres://orders:orders@extracted-db:5432/catalog?sslmode=disable", servers)
	if conn, err := pgx.Connect(t.Context(), foreign); err == nil {
		_ = conn.Close(t.Context())
		t.Error("the orders service reaches the catalog's database")
	}
}

// atServer replaces the host of a connection string by where the test runs that server.
func atServer(t *testing.T, url string, servers map[string]*cluster.Postgres) string {
	t.Helper()
	config, err := pgx.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	server, ok := servers[config.Host]
	if !ok {
		t.Fatalf("%s is no database", config.Host)
	}
	return strings.Replace(url, config.Host+":5432", address(server.Port()), 1)
}

// checkRole wants a mover that is apart from the applications, which own their databases and are nothing more.
func checkRole(t *testing.T, where string, conn *pgx.Conn) {
	t.Helper()
	var user, wal string
	var super, owner bool
	const query = `select current_user, current_setting('wal_level'), rolsuper, datdba = r.oid
		from pg_roles r, pg_database d where rolname = current_user and datname = current_database()`
	if err := conn.QueryRow(t.Context(), query).Scan(&user, &wal, &super, &owner); err != nil {
		t.Errorf("%s: %v", where, err)
		return
	}
	if wal != "logical" {
		t.Errorf("%s: wal_level %s", where, wal)
	}
	if mover := user == "mover"; super != mover || owner == mover {
		t.Errorf("%s: role %s: superuser %v, owner %v", where, user, super, owner)
	}
}

func TestRoutesAreTheExamplesOwn(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join(root, "routes", "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("documents: %v, %v", files, err)
	}
	for _, file := range files {
		name := filepath.Base(file)
		var want []string
		for line := range strings.Lines(read(t, file)) {
			if strings.HasPrefix(line, "  endpoints: [") {
				line = "  consul: " + strings.TrimSuffix(name, ".yaml") + "\n"
			}
			want = append(want, line)
		}
		if read(t, filepath.Join("routes", name)) != strings.Join(want, "") {
			t.Errorf("deploy/routes/%s is not routes/%s with its endpoints found in Consul; copy it again", name, name)
		}
	}
}
