package consul

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/hashicorp/consul/api"

	"strangler/capability"
)

// lockDelay is how long Consul keeps a key from a new session after it took it from
// an old one. The default of 15 s would keep a proxy that was restarted unregistered.
const lockDelay = time.Millisecond

// Register makes a proxy known, or renews it. Its key belongs to a session, so the
// registration of a proxy that is dead vanishes after one to two times the TTL, and
// whoever registers under the same id takes it over.
func (s *Store) Register(ctx context.Context, r capability.Registration) error {
	if err := keyName(r.ID); err != nil {
		return fmt.Errorf("register: %w", err)
	}
	content, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encode the registration of %s: %w", r.ID, err)
	}
	ctx, cancel := context.WithTimeout(ctx, s.bounds.answer)
	defer cancel()
	s.mu.Lock()
	session := s.sessions[r.ID]
	s.mu.Unlock()
	if session, err = s.renewed(ctx, session, r.ID); err != nil {
		return fmt.Errorf("register %s: %w", r.ID, err)
	}
	s.mu.Lock()
	s.sessions[r.ID] = session
	s.mu.Unlock()
	if err := s.acquire(ctx, &api.KVPair{Key: s.key(proxies, r.ID), Value: content, Session: session}); err != nil {
		return fmt.Errorf("register %s: %w", r.ID, err)
	}
	return nil
}

// renewed returns the session for another TTL, or a new one where it has ended. It
// has no checks: a proxy goes on routing while the agent beside it is away.
func (s *Store) renewed(ctx context.Context, session, id string) (string, error) {
	options := (&api.WriteOptions{}).WithContext(ctx)
	if session != "" {
		entry, _, err := s.client.Session().Renew(session, options)
		if err != nil {
			return "", fmt.Errorf("renew its session: %w", err)
		}
		if entry != nil {
			return session, nil
		}
	}
	session, _, err := s.client.Session().CreateNoChecks(&api.SessionEntry{
		Name: s.key(proxies, id), TTL: s.ttl.String(), Behavior: api.SessionBehaviorDelete, LockDelay: lockDelay,
	}, options)
	if err != nil {
		return "", fmt.Errorf("create a session: %w", err)
	}
	return session, nil
}

// acquire writes the pair under its session. A session of an earlier process of the
// same id, which has not run out yet, is ended first.
func (s *Store) acquire(ctx context.Context, pair *api.KVPair) error {
	options := (&api.WriteOptions{}).WithContext(ctx)
	for {
		acquired, _, err := s.client.KV().Acquire(pair, options)
		if err != nil || acquired {
			return err
		}
		there, err := s.get(ctx, pair.Key)
		if err != nil {
			return err
		}
		if there.Session != "" && there.Session != pair.Session {
			if _, err := s.client.Session().Destroy(there.Session, options); err != nil {
				return fmt.Errorf("end the session of an earlier process: %w", err)
			}
		}
		if !sleep(ctx, 10*lockDelay) {
			return fmt.Errorf("take its key over: %w", context.Cause(ctx))
		}
	}
}

// Deregister takes a proxy out. One that is not there is no error.
func (s *Store) Deregister(ctx context.Context, id string) error {
	if err := keyName(id); err != nil {
		return fmt.Errorf("deregister: %w", err)
	}
	pair, err := s.get(ctx, s.key(proxies, id))
	if err != nil {
		return fmt.Errorf("deregister %s: %w", id, err)
	}
	ctx, cancel := context.WithTimeout(ctx, s.bounds.answer)
	defer cancel()
	options := (&api.WriteOptions{}).WithContext(ctx)
	s.mu.Lock()
	ours := s.sessions[id]
	delete(s.sessions, id)
	s.mu.Unlock()
	if ours != "" {
		pair.Session = ours // a successor that has taken the id over stays
	}
	if pair.Session != "" {
		_, err = s.client.Session().Destroy(pair.Session, options)
	} else {
		_, err = s.client.KV().Delete(pair.Key, options)
	}
	if err != nil {
		return fmt.Errorf("deregister %s: %w", id, err)
	}
	return nil
}

// Registered returns all registrations by id, those included that died less than
// two times the TTL ago. Consul has to answer: what was known of proxies a while
// ago is not worth having.
func (s *Store) Registered(ctx context.Context) ([]capability.Registration, error) {
	pairs, err := s.list(ctx, proxies, false)
	if err != nil {
		return nil, err
	}
	var all []capability.Registration
	for _, id := range slices.Sorted(maps.Keys(pairs)) {
		var r capability.Registration
		if err := json.Unmarshal(pairs[id].Value, &r); err != nil {
			return nil, fmt.Errorf("read %s from consul: %w", pairs[id].Key, err)
		}
		all = append(all, r)
	}
	return all, nil
}
