package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
)

// Standby makes a hot standby of the cluster, which follows it by streaming, with the same settings, and blocks until it
// answers queries. It is stopped and removed like any other cluster, and may be promoted.
func (p *Postgres) Standby(ctx context.Context) (*Postgres, error) {
	dir, err := home("", p.user, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	s := &Postgres{binaries: p.binaries, user: p.user, dir: dir, password: p.password, settings: p.settings, log: p.log, temporary: true, anyPort: true}
	if out, err := s.command(ctx, "pg_basebackup", "-D", s.data(), "-d", p.URL("postgres"), "-R", "-X", "stream", "-c", "fast", "--no-sync").CombinedOutput(); err != nil {
		return nil, errors.Join(fmt.Errorf("copy the cluster in %s: %w\n%s", p.dir, err, out), os.RemoveAll(dir))
	}
	if err := s.start(ctx); err != nil {
		return nil, errors.Join(err, s.remove())
	}
	return s, nil
}
