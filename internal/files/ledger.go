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

const ledgerFile = "ledger.jsonl"

// Append adds an entry to the ledger. When it returns without an error the
// entry outlives a power cut.
func (s *Store) Append(ctx context.Context, entry capability.Entry) error {
	line, err := json.Marshal(entry)
	if err != nil {
		return fmt.Errorf("encode a ledger entry: %w", err)
	}
	return s.locked(ctx, func() error {
		if err := appendLine(s.path(ledgerFile), line); err != nil {
			return fmt.Errorf("append to the ledger: %w", err)
		}
		return nil
	})
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
// empty, newest last; all there are when limit is 0. It reads the whole file.
// Lines torn by a crash are passed over.
func (s *Store) Ledger(ctx context.Context, name string, limit int) (entries []capability.Entry, err error) {
	file, err := os.Open(s.path(ledgerFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open the ledger: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	for lines := bufio.NewReader(file); ; {
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
