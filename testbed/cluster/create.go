package cluster

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// longestSocketDir leaves room for "/.s.PGSQL.65535" in the 103 bytes that the narrowest system has for a socket's path.
const longestSocketDir = 85

// include is appended to postgresql.conf once; the file it names is written before every start. Settings are not given on
// the command line, where they would beat ALTER SYSTEM, which tests want to use.
const include = "\ninclude 'cluster.conf'\n"

// make makes the cluster where there is none. It works in a folder beside and renames it, so that what was interrupted
// halfway is not taken for a cluster.
func (p *Postgres) make(ctx context.Context, from *Template) error {
	if _, err := os.Stat(filepath.Join(p.data(), "PG_VERSION")); err == nil {
		return p.checkVersion()
	}
	if err := os.RemoveAll(p.half()); err != nil {
		return fmt.Errorf("create cluster: %w", err)
	}
	if from != nil {
		return p.copied(ctx, from)
	}
	return p.create(ctx)
}

// create initialises the cluster.
func (p *Postgres) create(ctx context.Context) (err error) {
	half := p.half()
	args := []string{"-D", half, "-U", User, "-E", "UTF8", "--locale=" + locale(), "--no-sync", "--no-instructions"}
	if p.password == "" {
		args = append(args, "-A", "trust")
	} else {
		file, err := p.passwordFile()
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.Remove(file)) }()
		args = append(args, "-A", "scram-sha-256", "--pwfile="+file)
	}
	if out, err := p.command(ctx, "initdb", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("create cluster in %s: %w\n%s", p.dir, err, out)
	}
	conf, err := os.OpenFile(filepath.Join(half, "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("create cluster: %w", err)
	}
	_, err = conf.WriteString(include)
	if err := errors.Join(err, conf.Close(), os.Rename(half, p.data())); err != nil {
		return fmt.Errorf("create cluster: %w", err)
	}
	return nil
}

// checkVersion refuses a folder that another major version made: the server would refuse too, less clearly.
func (p *Postgres) checkVersion() error {
	text, err := os.ReadFile(filepath.Join(p.data(), "PG_VERSION"))
	if err != nil {
		return fmt.Errorf("read cluster version: %w", err)
	}
	if was := strings.TrimSpace(string(text)); was != fmt.Sprint(p.binaries.Version) {
		return fmt.Errorf("the cluster in %s was made by PostgreSQL %s, found is %d; remove the folder to start afresh",
			p.dir, was, p.binaries.Version)
	}
	return nil
}

// locale is the same everywhere as far as the systems allow, so that sort orders do not depend on the machine.
func locale() string {
	if runtime.GOOS == "darwin" {
		return "C" // older versions of the system lack C.UTF-8
	}
	return "C.UTF-8"
}

func (p *Postgres) passwordFile() (string, error) {
	path := filepath.Join(p.dir, "password")
	if err := os.WriteFile(path, []byte(p.password+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("write password file: %w", err)
	}
	return path, p.user.own(path)
}

// configure writes the settings of this start.
func (p *Postgres) configure() error {
	sockets := p.dir
	if len(sockets) > longestSocketDir {
		sockets = "" // TCP only
	}
	settings := map[string]string{
		"listen_addresses":        "127.0.0.1",
		"port":                    fmt.Sprint(p.Port()),
		"unix_socket_directories": sockets,
		"wal_level":               "logical",
		"max_replication_slots":   "100",
		"max_wal_senders":         "100",
		"max_connections":         "300",
		"log_line_prefix":         "%m [%p] %q%u@%d ",
	}
	maps.Copy(settings, p.settings)
	var text strings.Builder
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		fmt.Fprintf(&text, "%s = '%s'\n", name, strings.ReplaceAll(settings[name], "'", "''"))
	}
	path := filepath.Join(p.data(), "cluster.conf")
	if err := os.WriteFile(path, []byte(text.String()), 0o644); err != nil {
		return fmt.Errorf("write settings: %w", err)
	}
	return nil
}
