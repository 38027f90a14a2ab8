package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// manager is one system's package manager.
type manager struct {
	program string
	asUser  bool       // it refuses to run as root
	steps   [][]string // program arguments, in order
}

var managers = []manager{
	{program: "apt-get", steps: [][]string{
		{"update", "-q"},
		{"install", "-q", "-y", "--no-install-recommends", "postgresql"}}},
	{program: "dnf", steps: [][]string{{"install", "-y", "postgresql-server"}}},
	{program: "apk", steps: [][]string{{"add", "postgresql"}}},
	{program: "zypper", steps: [][]string{{"--non-interactive", "install", "postgresql-server"}}},
	{program: "pacman", steps: [][]string{{"-S", "--noconfirm", "postgresql"}}},
	{program: "brew", asUser: true, steps: [][]string{{"install", "postgresql@17"}}},
}

// line is what a person types to get the same.
func (m manager) line() string {
	var parts []string
	for _, step := range m.steps {
		line := m.program + " " + strings.Join(step, " ")
		if !m.asUser {
			line = "sudo " + line
		}
		parts = append(parts, line)
	}
	return strings.Join(parts, " && ")
}

// FindOrInstall is Find, and Install followed by Find where nothing is found.
func FindOrInstall(ctx context.Context, log *slog.Logger) (Binaries, error) {
	found, err := Find(ctx)
	if !errors.Is(err, ErrNoBinaries) {
		return found, err
	}
	if err := Install(ctx, log); err != nil {
		return Binaries{}, err
	}
	return Find(ctx)
}

// Install installs the PostgreSQL server with the system's package manager, when this process has the rights to;
// otherwise the error is ErrNoBinaries with the one line to type. It blocks for as long as the package manager does.
// No system cluster is created or started by it.
func Install(ctx context.Context, log *slog.Logger) error {
	for _, m := range managers {
		if _, err := exec.LookPath(m.program); err != nil {
			continue
		}
		root := os.Geteuid() == 0
		if root == m.asUser {
			return fmt.Errorf("%w; install them with: %s", ErrNoBinaries, m.line())
		}
		return m.install(ctx, log)
	}
	return fmt.Errorf("%w, and no package manager that is known here; install PostgreSQL %d or newer and put its bin folder on PATH",
		ErrNoBinaries, OldestVersion)
}

func (m manager) install(ctx context.Context, log *slog.Logger) (err error) {
	log.Info("installing PostgreSQL", "with", m.line())
	if m.program == "apt-get" {
		restore, err := withoutSystemCluster(debianClusterConf)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, restore()) }()
	}
	for _, step := range m.steps {
		cmd := exec.CommandContext(ctx, m.program, step...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("install PostgreSQL with %q: %w\n%s", m.line(), err, tail(string(out), 20))
		}
	}
	return nil
}

// debianClusterConf is the folder whose files Debian's packages read before they create the system's own cluster.
const debianClusterConf = "/etc/postgresql-common/createcluster.d"

// withoutSystemCluster keeps Debian's package from creating and starting the cluster "main", which nobody asked for.
// The returned function takes that wish back.
func withoutSystemCluster(dir string) (restore func() error, err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("prepare the installation: %w", err)
	}
	path := filepath.Join(dir, "strangler-testbed.conf")
	if err := os.WriteFile(path, []byte("create_main_cluster = false\n"), 0o644); err != nil {
		return nil, fmt.Errorf("prepare the installation: %w", err)
	}
	return func() error { return os.Remove(path) }, nil
}

// tail is the last lines of a text.
func tail(text string, lines int) string {
	all := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
