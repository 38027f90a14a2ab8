package consul

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/consul/api"

	"strangler/capability"
)

// ledgerEntries is how many entries of each capability are kept: the newest. Every
// key costs the servers memory.
const ledgerEntries = 1000

// mostTrimmed is how many entries one append takes out, at most. Consul takes no more
// operations in a transaction.
const mostTrimmed = 64

// Append adds an entry to the ledger, and takes out the oldest ones of its
// capability beyond a thousand. When it returns without an error, a majority of
// Consul's servers has the entry on disk. Entries of several processes are in the
// order of their clocks.
func (s *Store) Append(ctx context.Context, entry capability.Entry) error {
	content, err := json.Marshal(entry)
	if err != nil {
		return fmt.Errorf("encode a ledger entry: %w", err)
	}
	if strings.Contains(entry.Capability, "/") {
		return fmt.Errorf("append to the ledger: %w", keyName(entry.Capability))
	}
	if err := s.swap(ctx, s.key(ledger, s.entryName(entry.Capability)), content, 0); err != nil {
		return fmt.Errorf("append to the ledger: %w", err)
	}
	if err := s.trim(ctx, entry.Capability); err != nil {
		// The entry is there; the next one tries again.
		s.log.Warn("ledger not shortened", slog.String("capability", entry.Capability), slog.Any("error", err))
	}
	return nil
}

// trim takes the oldest entries out. Nobody ever writes an entry again, or another
// under its name, so it does no harm that others do the same meanwhile.
func (s *Store) trim(ctx context.Context, name string) error {
	keys, err := s.entryKeys(ctx, func(entry string) bool { return ofEntry(entry) == name })
	if err != nil || len(keys) <= s.entries {
		return err
	}
	var ops api.TxnOps
	for _, key := range keys[:min(len(keys)-s.entries, mostTrimmed)] {
		ops = append(ops, &api.TxnOp{KV: &api.KVTxnOp{Verb: api.KVDelete, Key: key}})
	}
	ctx, cancel := context.WithTimeout(ctx, s.bounds.answer)
	defer cancel()
	ok, answer, _, err := s.client.Txn().Txn(ops, (&api.QueryOptions{}).WithContext(ctx))
	if err == nil && !ok {
		err = errors.New("consul has refused")
		for _, e := range answer.Errors {
			err = errors.Join(err, errors.New(e.What))
		}
	}
	if err != nil {
		return fmt.Errorf("take old entries out of consul: %w", err)
	}
	return nil
}

// entryName sorts by time, and says whose the entry is, so that few are read of
// many. What is random keeps two processes apart.
func (s *Store) entryName(name string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stamp = max(s.stamp+1, s.now().UnixNano())
	return fmt.Sprintf("%020d.%s.%s", s.stamp, name, rand.Text()[:8])
}

// ofEntry is the capability in the name of an entry.
func ofEntry(name string) string {
	_, rest, _ := strings.Cut(name, ".")
	return rest[:max(0, strings.LastIndexByte(rest, '.'))]
}

// Ledger returns the last entries of one capability, or of all when it is
// empty, newest last; all there are when limit is 0. With a limit it reads the
// names of all and no more entries than it returns.
func (s *Store) Ledger(ctx context.Context, name string, limit int) ([]capability.Entry, error) {
	if limit > 0 {
		return s.lastEntries(ctx, name, limit)
	}
	pairs, err := s.list(ctx, ledger, false)
	if err != nil {
		return nil, err
	}
	var entries []capability.Entry
	for _, key := range slices.Sorted(maps.Keys(pairs)) {
		if name != "" && ofEntry(key) != name {
			continue
		}
		if entries, err = appendEntry(entries, pairs[key]); err != nil {
			return nil, err
		}
	}
	return entries, nil
}

func (s *Store) lastEntries(ctx context.Context, name string, limit int) ([]capability.Entry, error) {
	keys, err := s.entryKeys(ctx, func(entry string) bool { return name == "" || ofEntry(entry) == name })
	if err != nil {
		return nil, err
	}
	var entries []capability.Entry
	for _, key := range keys[max(0, len(keys)-limit):] {
		pair, err := s.get(ctx, key)
		if err != nil {
			return nil, err
		}
		if pair.ModifyIndex == 0 {
			continue // taken out by somebody since
		}
		if entries, err = appendEntry(entries, pair); err != nil {
			return nil, err
		}
	}
	return entries, nil
}

// entryKeys returns the keys of the entries that are wanted, oldest first.
func (s *Store) entryKeys(ctx context.Context, wanted func(entry string) bool) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, s.bounds.answer)
	defer cancel()
	keys, meta, err := s.client.KV().Keys(s.key(ledger)+"/", "", (&api.QueryOptions{}).WithContext(ctx))
	if err == nil && meta.ResultsFilteredByACLs {
		err = errFiltered
	}
	if err != nil {
		return nil, fmt.Errorf("list the ledger in consul: %w", err)
	}
	keys = slices.DeleteFunc(keys, func(key string) bool {
		entry := strings.TrimPrefix(key, s.key(ledger)+"/")
		return entry == "" || strings.Contains(entry, "/") || !wanted(entry)
	})
	slices.Sort(keys)
	return keys, nil
}

func appendEntry(entries []capability.Entry, pair *api.KVPair) ([]capability.Entry, error) {
	var entry capability.Entry
	if err := json.Unmarshal(pair.Value, &entry); err != nil {
		return nil, fmt.Errorf("read %s from consul: %w", pair.Key, err)
	}
	return append(entries, entry), nil
}
