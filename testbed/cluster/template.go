package cluster

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"
)

// Template is an initialised cluster that never runs: throw-away clusters are copies of it. To initialise one takes more
// than a second of a processor, to copy it a fraction.
type Template struct{ of *Postgres }

// NewTemplate initialises a cluster without a password in a temporary folder, which Remove removes.
func NewTemplate(ctx context.Context, log *slog.Logger) (*Template, error) {
	p, err := prepare(ctx, Options{Log: log})
	if err != nil {
		return nil, err
	}
	if err := p.create(ctx); err != nil {
		return nil, errors.Join(err, p.remove())
	}
	// A copy gets a log of its own, so this one need not be copied.
	segments, err := filepath.Glob(filepath.Join(p.data(), "pg_wal", "0*"))
	for _, segment := range segments {
		err = errors.Join(err, os.Remove(segment))
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make template of clusters: %w", err), p.remove())
	}
	return &Template{p}, nil
}

// Remove removes the folder. Clusters that were made of it stay.
func (t *Template) Remove() error { return t.of.remove() }

// copied fills a cluster's folder from the template and makes it another cluster, with a system identifier of its own.
func (p *Postgres) copied(ctx context.Context, from *Template) error {
	half := p.half()
	if out, err := p.command(ctx, "cp", "-Rp", from.of.data(), half).CombinedOutput(); err != nil {
		return fmt.Errorf("copy cluster to %s: %w\n%s", p.dir, err, out)
	}
	if err := identify(filepath.Join(half, "global", "pg_control")); err != nil {
		return err
	}
	// It takes the identifier into a new log, and makes the checksum right again that says it was guessed.
	if out, err := p.command(ctx, "pg_resetwal", "-f", "-D", half).CombinedOutput(); err != nil {
		return fmt.Errorf("give the cluster in %s a log: %w\n%s", p.dir, err, out)
	}
	if err := os.Rename(half, p.data()); err != nil {
		return fmt.Errorf("copy cluster: %w", err)
	}
	return nil
}

// identify writes a new system identifier, which is what the control file begins with. As in one that initdb makes, the
// upper half is the time.
func identify(control string) error {
	identifier := make([]byte, 4)
	_, _ = rand.Read(identifier) // never fails
	file, err := os.OpenFile(control, os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("identify cluster: %w", err)
	}
	random := uint64(binary.NativeEndian.Uint32(identifier))
	_, err = file.WriteAt(binary.NativeEndian.AppendUint64(nil, uint64(time.Now().Unix())<<32|random), 0)
	if err := errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("identify cluster: %w", err)
	}
	return nil
}
