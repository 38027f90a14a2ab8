package consul

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/consul/api"

	"strangler/capability"
)

// Append adds an entry to the ledger. When it returns without an error, a majority
// of Consul's servers has it on disk. Entries of several processes are in the order
// of their clocks.
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
	asking, cancel := context.WithTimeout(ctx, s.bounds.answer)
	defer cancel()
	keys, meta, err := s.client.KV().Keys(s.key(ledger)+"/", "", (&api.QueryOptions{}).WithContext(asking))
	if err == nil && meta.ResultsFilteredByACLs {
		err = errFiltered
	}
	if err != nil {
		return nil, fmt.Errorf("list the ledger in consul: %w", err)
	}
	keys = slices.DeleteFunc(keys, func(key string) bool {
		entry := strings.TrimPrefix(key, s.key(ledger)+"/")
		return entry == "" || name != "" && ofEntry(entry) != name
	})
	slices.Sort(keys)
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

func appendEntry(entries []capability.Entry, pair *api.KVPair) ([]capability.Entry, error) {
	var entry capability.Entry
	if err := json.Unmarshal(pair.Value, &entry); err != nil {
		return nil, fmt.Errorf("read %s from consul: %w", pair.Key, err)
	}
	return append(entries, entry), nil
}
