package files

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"strangler/capability"
)

// Register makes a proxy known, or renews it. Registrations are left lying when
// a proxy dies; their age tells.
func (s *Store) Register(ctx context.Context, r capability.Registration) error {
	if err := fileName(r.ID); err != nil {
		return fmt.Errorf("register: %w", err)
	}
	content, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encode the registration of %s: %w", r.ID, err)
	}
	return s.locked(ctx, func() error { return s.save(append(content, '\n'), public, "proxies", r.ID+".json") })
}

// Deregister takes a proxy out. One that is not there is no error.
func (s *Store) Deregister(ctx context.Context, id string) error {
	if err := fileName(id); err != nil {
		return fmt.Errorf("deregister: %w", err)
	}
	return s.locked(ctx, func() error {
		if err := ignoreMissing(os.Remove(s.path("proxies", id+".json"))); err != nil {
			return fmt.Errorf("deregister %s: %w", id, err)
		}
		return nil
	})
}

// Registered returns all registrations by id, those of the dead included.
func (s *Store) Registered(ctx context.Context) ([]capability.Registration, error) {
	var all []capability.Registration
	err := s.each(ctx, "proxies", func(_ string, content []byte) error {
		var r capability.Registration
		if err := json.Unmarshal(content, &r); err != nil {
			return err
		}
		all = append(all, r)
		return nil
	})
	return all, err
}
