package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
)

// OldestVersion is the first major version of PostgreSQL whose logical replication is good enough here.
const OldestVersion = 14

// ErrNoBinaries means that no PostgreSQL server of OldestVersion or newer was found on this machine.
var ErrNoBinaries = errors.New("no PostgreSQL server binaries found")

// Binaries is the folder of one PostgreSQL installation.
type Binaries struct {
	Dir     string
	Version int // major
}

// Path names one program of the installation, such as "psql". Client programs may live elsewhere: when the program is
// not in the folder its bare name is returned, to be looked up on PATH.
func (b Binaries) Path(program string) string {
	path := filepath.Join(b.Dir, program)
	if _, err := os.Stat(path); err != nil {
		return program
	}
	return path
}

// usual are the places in which the packagers of the systems put the server, as patterns.
var usual = []string{
	"/usr/lib/postgresql/*/bin",
	"/usr/lib/postgresql*/bin",
	"/usr/pgsql-*/bin",
	"/usr/libexec/postgresql*",
	"/usr/local/pgsql/bin",
	"/usr/bin",
	"/usr/local/bin",
	"/opt/homebrew/opt/postgresql*/bin",
	"/usr/local/opt/postgresql*/bin",
	"/Applications/Postgres.app/Contents/Versions/*/bin",
}

// Find looks for server binaries on PATH, where pg_config points, and in the usual places of each system. The newest
// version wins; of equals, the first found. Without any it returns ErrNoBinaries.
func Find(ctx context.Context) (Binaries, error) {
	var best Binaries
	seen := map[string]bool{}
	for _, dir := range candidates(ctx) {
		real, err := filepath.EvalSymlinks(dir)
		if err != nil || seen[real] {
			continue
		}
		seen[real] = true
		if version := versionIn(ctx, real); version >= OldestVersion && version > best.Version {
			best = Binaries{Dir: real, Version: version}
		}
	}
	if best.Version == 0 {
		return Binaries{}, fmt.Errorf("%w (version %d or newer)", ErrNoBinaries, OldestVersion)
	}
	return best, nil
}

func candidates(ctx context.Context) []string {
	var dirs []string
	if path, err := exec.LookPath("postgres"); err == nil {
		// The one on PATH is often a link out of a bin folder that holds nothing else of PostgreSQL.
		if real, err := filepath.EvalSymlinks(path); err == nil {
			dirs = append(dirs, filepath.Dir(real))
		}
	}
	if out, err := exec.CommandContext(ctx, "pg_config", "--bindir").Output(); err == nil {
		dirs = append(dirs, string(regexp.MustCompile(`\s+$`).ReplaceAll(out, nil)))
	}
	for _, pattern := range usual {
		found, err := filepath.Glob(pattern)
		if err != nil {
			continue // only a malformed pattern, and those above are tested
		}
		slices.Sort(found)
		dirs = append(dirs, found...)
	}
	return dirs
}

var version = regexp.MustCompile(`\(PostgreSQL\) (\d+)`)

// versionIn is the major version of the server in dir; 0 when initdb and postgres are not both there and able to run.
func versionIn(ctx context.Context, dir string) int {
	if _, err := os.Stat(filepath.Join(dir, "initdb")); err != nil {
		return 0
	}
	out, err := exec.CommandContext(ctx, filepath.Join(dir, "postgres"), "--version").Output()
	if err != nil {
		return 0
	}
	match := version.FindSubmatch(out)
	if match == nil {
		return 0
	}
	major, err := strconv.Atoi(string(match[1]))
	if err != nil {
		return 0
	}
	return major
}
