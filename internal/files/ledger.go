package files

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"strangler/capability"
)

const (
	ledgerFile = "ledger.jsonl"
	asideFile  = ledgerFile + ".1"
	// ledgerBound is how long the ledger grows until it is put aside, where it takes
	// the place of the one before: some hundred thousand entries in all.
	ledgerBound = 64 << 20
)

// Append adds an entry to the ledger. When it returns without an error the
// entry outlives a power cut.
func (s *Store) Append(ctx context.Context, entry capability.Entry) error {
	line, err := json.Marshal(entry)
	if err != nil {
		return fmt.Errorf("encode a ledger entry: %w", err)
	}
	return s.locked(ctx, func() error {
		if err := s.putAside(len(line)); err != nil {
			return fmt.Errorf("put the ledger aside: %w", err)
		}
		if err := appendLine(s.path(ledgerFile), line); err != nil {
			return fmt.Errorf("append to the ledger: %w", err)
		}
		return nil
	})
}

// putAside makes room for a line where the ledger has none. It is called with the
// store locked.
func (s *Store) putAside(line int) error {
	info, err := os.Stat(s.path(ledgerFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	// A torn line may have to be closed first: a newline more.
	if err != nil || info.Size() == 0 || info.Size()+int64(line)+2 <= s.bound {
		return err
	}
	if err := os.Rename(s.path(ledgerFile), s.path(asideFile)); err != nil {
		return err
	}
	return syncDir(s.state)
}

// appendLine closes a line that a crash has torn before it writes its own, so
// that one lost entry never spoils the next.
func appendLine(path string, line []byte) (err error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if size := info.Size(); size > 0 {
		last := make([]byte, 1)
		if _, err := file.ReadAt(last, size-1); err != nil {
			return err
		}
		if last[0] != '\n' {
			line = append([]byte{'\n'}, line...)
		}
	}
	if _, err := file.Write(append(line, '\n')); err != nil {
		return err
	}
	return file.Sync()
}

// Ledger returns the last entries of one capability, or of all when it is
// empty, newest last; all there are when limit is 0. It reads the whole file, and
// the one put aside where that has not enough. Lines torn by a crash are passed over.
func (s *Store) Ledger(ctx context.Context, name string, limit int) (entries []capability.Entry, err error) {
	// Both are opened before either is read, the newer one first: one that is put
	// aside in between is found twice, and never missed.
	now, err := openLedger(s.path(ledgerFile))
	defer func() { err = errors.Join(err, now.Close()) }()
	if err != nil {
		return nil, err
	}
	aside, err := openLedger(s.path(asideFile))
	defer func() { err = errors.Join(err, aside.Close()) }()
	if err != nil {
		return nil, err
	}
	if entries, err = now.last(ctx, name, limit); err != nil || limit > 0 && len(entries) == limit || now.is(aside) {
		return entries, err
	}
	older, err := aside.last(ctx, name, max(limit-len(entries), 0))
	return append(older, entries...), err
}

// ledger is one file of the ledger; nil when it is not there.
type ledger struct{ *os.File }

func openLedger(path string) (ledger, error) {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return ledger{}, nil
	}
	if err != nil {
		return ledger{}, fmt.Errorf("open the ledger: %w", err)
	}
	return ledger{file}, nil
}

// Close closes the file, if there is one.
func (l ledger) Close() error {
	if l.File == nil {
		return nil
	}
	return l.File.Close()
}

// is reports whether both are one file.
func (l ledger) is(other ledger) bool {
	if l.File == nil || other.File == nil {
		return false
	}
	a, err := l.Stat()
	b, otherErr := other.Stat()
	return err == nil && otherErr == nil && os.SameFile(a, b)
}

// last returns the last entries of one file; see Ledger.
func (l ledger) last(ctx context.Context, name string, limit int) (entries []capability.Entry, err error) {
	if l.File == nil {
		return nil, nil
	}
	for lines := bufio.NewReader(l); ; {
		line, err := lines.ReadBytes('\n')
		var entry capability.Entry
		if json.Unmarshal(bytes.TrimSpace(line), &entry) == nil && (name == "" || entry.Capability == name) {
			entries = append(entries, entry)
			if limit > 0 && len(entries) > 2*limit {
				entries = append(entries[:0], entries[len(entries)-limit:]...)
			}
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return nil, fmt.Errorf("read the ledger: %w", err)
		}
	}
	if limit > 0 && len(entries) > limit {
		entries = entries[len(entries)-limit:]
	}
	return entries, nil
}
