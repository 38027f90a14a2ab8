package consul

import (
	"context"
	"fmt"
	"strings"

	"github.com/hashicorp/consul/api"
)

// largest value that Consul takes, unless its servers are told otherwise.
const largest = 512 << 10

// The folders below the prefix.
const (
	routes    = "routes"
	effective = "effective"
	proxies   = "proxies"
	ledger    = "ledger"
)

func (s *Store) key(parts ...string) string {
	return s.prefix + "/" + strings.Join(parts, "/")
}

// list returns the pairs right below a folder, by the rest of their keys. A list
// from which the token may not read everything is an error, since it looks like
// one from which something is gone.
func (s *Store) list(ctx context.Context, dir string, consistent bool) (map[string]*api.KVPair, error) {
	ctx, cancel := context.WithTimeout(ctx, s.bounds.answer)
	defer cancel()
	all, meta, err := s.client.KV().List(s.key(dir)+"/", (&api.QueryOptions{RequireConsistent: consistent}).WithContext(ctx))
	if err == nil && meta.ResultsFilteredByACLs {
		err = errFiltered
	}
	if err != nil {
		return nil, fmt.Errorf("list %s in consul: %w", s.key(dir), err)
	}
	return s.below(dir, all), nil
}

// below passes over folders: they are nobody's, or people's.
func (s *Store) below(dir string, all api.KVPairs) map[string]*api.KVPair {
	pairs := make(map[string]*api.KVPair, len(all))
	for _, pair := range all {
		if name := strings.TrimPrefix(pair.Key, s.key(dir)+"/"); name != "" && !strings.Contains(name, "/") {
			pairs[name] = pair
		}
	}
	return pairs
}

// get returns the pair of a key as the leader has it now, or one without a value
// whose index is 0: with that, a write succeeds only if there is still none.
func (s *Store) get(ctx context.Context, key string) (*api.KVPair, error) {
	ctx, cancel := context.WithTimeout(ctx, s.bounds.answer)
	defer cancel()
	pair, _, err := s.client.KV().Get(key, (&api.QueryOptions{RequireConsistent: true}).WithContext(ctx))
	if err != nil {
		return nil, fmt.Errorf("read %s from consul: %w", key, err)
	}
	if pair == nil {
		pair = &api.KVPair{Key: key}
	}
	return pair, nil
}

// swap writes a value if the key has not changed since the index was read, and
// returns ErrConflict if it has. After any other error it may have been written.
func (s *Store) swap(ctx context.Context, key string, value []byte, index uint64) error {
	if len(value) > largest {
		return fmt.Errorf("write %d bytes to %s: %w", len(value), key, ErrTooLarge)
	}
	ctx, cancel := context.WithTimeout(ctx, s.bounds.answer)
	defer cancel()
	written, _, err := s.client.KV().CAS(&api.KVPair{Key: key, Value: value, ModifyIndex: index}, (&api.WriteOptions{}).WithContext(ctx))
	if err == nil && !written {
		err = ErrConflict
	}
	if err != nil {
		return fmt.Errorf("write %s to consul: %w", key, err)
	}
	return nil
}

// keyName refuses names that would lead out of their folder, in Consul or on disk,
// or be passed over when it is read.
func keyName(name string) error {
	if name == "" || strings.HasPrefix(name, ".") || strings.ContainsAny(name, "/\\\x00") {
		return fmt.Errorf("%q cannot be the name of a key", name)
	}
	return nil
}
