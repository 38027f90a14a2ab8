package stage

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"testbed"
	"testbed/cluster"
	"testbed/process"
)

// TestMain also plays the programs: the test binary, linked into bin/ under their names, does what a program of that
// name would do to its parent.
func TestMain(m *testing.M) {
	switch filepath.Base(os.Args[0]) {
	case "orders", "shop", "catalog":
		serve(os.Getenv("LISTEN"))
	case "strangler":
		talk()
	default:
		testbed.Main(m)
	}
}

// serve answers until /die is asked for.
func serve(address string) {
	mux := http.NewServeMux()
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) {})
	mux.HandleFunc("/die", func(http.ResponseWriter, *http.Request) {
		_, _ = io.WriteString(os.Stderr, "last words\n")
		os.Exit(3)
	})
	if err := http.ListenAndServe(address, mux); err != nil {
		_, _ = io.WriteString(os.Stderr, err.Error()+"\n")
		os.Exit(1)
	}
}

// talk prints its arguments and fails where the last one says so.
func talk() {
	_, _ = io.WriteString(os.Stdout, strings.Join(os.Args[1:], " ")+"\nsecond line\n")
	if os.Args[len(os.Args)-1] == "fail" {
		os.Exit(1)
	}
	if os.Args[len(os.Args)-1] == "hang" {
		select {}
	}
}

// root is a repository with its programs built and its configuration as it is shipped.
func root(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range programs {
		if err := os.Symlink(self, filepath.Join(dir, "bin", name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"config.yaml", "routes"} {
		shipped, err := filepath.Abs(filepath.Join("..", "..", name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(shipped, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func open(t *testing.T, root string) *Stage {
	t.Helper()
	s, err := Open(Options{Root: root, Dir: filepath.Join(root, ".demo"), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestFolderIsClaimedAndEmptied(t *testing.T) {
	t.Parallel()
	dir := root(t)
	left := filepath.Join(dir, ".demo", "legacy", "left")
	if err := os.MkdirAll(left, 0o755); err != nil {
		t.Fatal(err)
	}
	s := open(t, dir)
	if _, err := os.Stat(left); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what an earlier run left is still there: %v", err)
	}
	mine := filepath.Join(s.Dir, "mine")
	if err := os.WriteFile(mine, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Options{Root: dir, Dir: s.Dir}); !errors.Is(err, ErrInUse) {
		t.Errorf("a second run got the folder: %v", err)
	}
	if _, err := os.Stat(mine); err != nil {
		t.Errorf("a second run emptied the folder: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if again, err := Open(Options{Root: dir, Dir: s.Dir}); err != nil {
		t.Errorf("the folder is not free after its run: %v", err)
	} else if err := again.Close(); err != nil {
		t.Error(err)
	}
}

func TestMissingProgramsAreNamed(t *testing.T) {
	t.Parallel()
	dir := root(t)
	for _, name := range []string{"shop", "catalog"} {
		if err := os.Remove(filepath.Join(dir, "bin", name)); err != nil {
			t.Fatal(err)
		}
	}
	_, err := Open(Options{Root: dir, Dir: filepath.Join(dir, ".demo")})
	if err == nil || !strings.Contains(err.Error(), "bin/shop, bin/catalog") || !strings.Contains(err.Error(), "make build") {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, ".demo")); !errors.Is(err, os.ErrNotExist) {
		t.Error("the folder was made all the same")
	}
}

// start starts one of the programs on a free port.
func start(t *testing.T, s *Stage, name string) (url string) {
	t.Helper()
	ports, err := process.FreePorts(1)
	if err != nil {
		t.Fatal(err)
	}
	url = "http://127.0.0.1:" + strconv.Itoa(ports[0])
	env := []string{"LISTEN=127.0.0.1:" + strconv.Itoa(ports[0])}
	if _, err := s.start(t.Context(), name, name, url+"/healthz", env); err != nil {
		t.Fatal(err)
	}
	return url
}

func TestProgramsEndInReverseAndOnlyThen(t *testing.T) {
	t.Parallel()
	s := open(t, root(t))
	shop, orders := start(t, s, "shop"), start(t, s, "orders")
	running := append([]*program{}, s.programs...)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for i, url := range []string{shop, orders} {
		if running[i].process.Running() || ask(t.Context(), url+"/healthz") == nil {
			t.Errorf("%s outlived the stage", running[i].name)
		}
	}
	select {
	case died := <-s.Died():
		t.Errorf("an ordinary end is reported as a death: %v", died)
	default:
	}
}

func TestKilledOnPurposeIsNoDeath(t *testing.T) {
	t.Parallel()
	s := open(t, root(t))
	orders := start(t, s, "orders")
	if err := s.Kill("orders"); err != nil {
		t.Fatal(err)
	}
	if ask(t.Context(), orders+"/healthz") == nil {
		t.Error("it answers after it was killed")
	}
	if err := s.Kill("orders"); err == nil {
		t.Error("what does not run was killed again")
	}
	if again := start(t, s, "orders"); ask(t.Context(), again+"/healthz") != nil {
		t.Error("it cannot be started again")
	}
	if err := s.Kill("orders"); err != nil {
		t.Errorf("the second one cannot be killed: %v", err)
	}
	select {
	case died := <-s.Died():
		t.Errorf("reported as a death: %v", died)
	default:
	}
}

func TestDeathIsReportedWithTheLastWords(t *testing.T) {
	t.Parallel()
	s := open(t, root(t))
	shop := start(t, s, "shop")
	if ask(t.Context(), shop+"/die") == nil {
		t.Fatal("it did not die")
	}
	select {
	case died := <-s.Died():
		for _, want := range []string{"shop ended by itself", "exit status 3", "last words", "shop.log"} {
			if !strings.Contains(died.Error(), want) {
				t.Errorf("%q does not say %q", died, want)
			}
		}
	case <-time.After(30 * time.Second):
		t.Error("nobody noticed")
	}
}

func TestStartOfWhatEndsAtOnceFails(t *testing.T) {
	t.Parallel()
	s := open(t, root(t))
	_, err := s.start(t.Context(), "shop", "shop", "http://127.0.0.1:1/healthz", []string{"LISTEN=127.0.0.1:nonsense"})
	if err == nil || !strings.Contains(err.Error(), "start shop: exit status 1") || !strings.Contains(err.Error(), "nonsense") {
		t.Errorf("got %v", err)
	}
}

func TestTypedCommands(t *testing.T) {
	t.Parallel()
	s := open(t, root(t))
	var lines []string
	line := func(text string) { lines = append(lines, text) }
	if err := s.Type(t.Context(), line, "weight", "orders", "10%"); err != nil {
		t.Fatal(err)
	}
	if want := []string{"-c " + s.Config() + " weight orders 10%", "second line"}; strings.Join(lines, "\n") != strings.Join(want, "\n") {
		t.Errorf("lines are %q", lines)
	}
	err := s.Type(t.Context(), line, "fail")
	if err == nil || !strings.Contains(err.Error(), "strangler fail: exit status 1: second line") {
		t.Errorf("got %v", err)
	}
	log, err := os.ReadFile(filepath.Join(s.Logs(), "commands.log"))
	if err != nil || strings.Count(string(log), "second line") != 2 || !strings.Contains(string(log), "$ strangler weight orders 10%") {
		t.Errorf("log is %q, %v", log, err)
	}
}

func TestTypedCommandEndsWithTheStage(t *testing.T) {
	t.Parallel()
	s := open(t, root(t))
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	errEnough := errors.New("enough")
	err := s.Type(ctx, func(string) { cancel(errEnough) }, "hang")
	if !errors.Is(err, errEnough) {
		t.Errorf("got %v", err)
	}
}

// What is shipped is what the demonstration runs, apart from addresses: were one of them to change its spelling, it
// would be left as it is, and found here.
func TestConfigurationIsTheShippedOne(t *testing.T) {
	t.Parallel()
	s := open(t, root(t))
	s.legacy, s.extracted = &cluster.Postgres{}, &cluster.Postgres{}
	defer func() { s.legacy, s.extracted = nil, nil }()
	s.Ports = Ports{Proxy: 1, Admin: 2, Monolith: 3, Catalog: 4, Orders: 5}
	if err := s.Configure(777); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][]string{
		"config.yaml":         {"listen: 127.0.0.1:1 ", "admin: 127.0.0.1:2 ", "endpoints: [http://127.0.0.1:3]", "database: postgres://strangler:demo@"},
		"routes/catalog.yaml": {"endpoints: [http://127.0.0.1:4]", "/catalog?sslmode"},
		"routes/orders.yaml":  {"endpoints: [http://127.0.0.1:5]", "/orders?sslmode", "\ndata:\n  rate: 777 "},
	} {
		text, err := os.ReadFile(filepath.Join(s.Dir, name))
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range want {
			if !strings.Contains(string(text), part) {
				t.Errorf("%s lacks %q:\n%s", name, part, text)
			}
		}
		for _, rest := range []string{"${", ":80", ":90"} {
			for _, line := range strings.Split(string(text), "\n") {
				if code, _, _ := strings.Cut(line, "#"); strings.Contains(code, rest) {
					t.Errorf("%s still has %q in %q", name, rest, line)
				}
			}
		}
	}
}

// The mover is no superuser, and may do what movers do.
func TestRolesOfTheDatabases(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("starts servers; run without -short")
	}
	s := open(t, root(t))
	if err := s.StartDatabases(t.Context()); err != nil {
		t.Fatal(err)
	}
	legacy := s.legacy.Dir()
	conn, err := pgx.Connect(t.Context(), RoleURL(s.legacy, "shop", Mover))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	for _, statement := range []string{
		`set role shop_app; create table t (id bigint primary key); reset role`,
		`create publication p for table t`,
		`create schema of_the_mover`,
		`set session_replication_role = replica`,
		`select pg_replication_origin_create('o'), pg_replication_origin_session_setup('o')`,
		`select pg_create_logical_replication_slot('s', 'pgoutput')`,
		`select pg_drop_replication_slot('s')`,
	} {
		if _, err := conn.Exec(t.Context(), statement); err != nil {
			t.Errorf("%s: %v", statement, err)
		}
	}
	var super, durable string
	if err := conn.QueryRow(t.Context(), `select current_setting('is_superuser'), current_setting('fsync')`).Scan(&super, &durable); err != nil {
		t.Fatal(err)
	}
	if super != "off" || durable != "on" {
		t.Errorf("superuser %s, fsync %s", super, durable)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(legacy); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the cluster's folder is left: %v", err)
	}
}
