package consul

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"go.uber.org/goleak"

	"strangler/capability"
	"strangler/internal/documents/documentstest"
	"testbed"
)

// newStore is a store with a folder of keys, and a snapshot, of its own.
func newStore(t *testing.T) *Store {
	t.Helper()
	return storeAt(t, testbed.Consul(t), unique("store"), t.TempDir())
}

// another is the same keys as another process sees them, on the same disk.
func (s *Store) another(t *testing.T) *Store {
	t.Helper()
	o := NewStore(StoreOptions{
		Client: s.client, Prefix: s.prefix, Snapshot: s.saved, TTL: s.ttl, Decode: s.folder.Decode, Apply: s.folder.Apply, Log: s.log,
	})
	o.entries, o.bounds, o.now = s.entries, s.bounds, s.now
	return o
}

// elsewhere is another process on another machine.
func (s *Store) elsewhere(t *testing.T) *Store {
	t.Helper()
	o := s.another(t)
	o.saved = t.TempDir()
	return o
}

func storeAt(t *testing.T, address, prefix, saved string) *Store {
	t.Helper()
	leaks := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, leaks) })
	return openStore(t, address, prefix, saved)
}

// openStore is storeAt for tests that run beside others, or leave something running.
func openStore(t *testing.T, address, prefix, saved string) *Store {
	t.Helper()
	client, transport, err := Server{Address: address}.connect()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(transport.CloseIdleConnections)
	s := NewStore(StoreOptions{
		Client: client, Prefix: prefix, Snapshot: saved, Decode: documentstest.Decode, Apply: documentstest.Apply, Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	s.bounds.recheck, s.bounds.backoff, s.bounds.longest = 50*time.Millisecond, 10*time.Millisecond, 50*time.Millisecond
	return s
}

func (s *Store) put(t *testing.T, file, content string) {
	t.Helper()
	if err := s.Put(t.Context(), file, []byte(content)); err != nil {
		t.Fatal(err)
	}
}

func (s *Store) remove(t *testing.T, file string) {
	t.Helper()
	if err := s.Remove(t.Context(), file); err != nil {
		t.Fatal(err)
	}
}

func (s *Store) publish(t *testing.T, name string, revision, epoch uint64) {
	t.Helper()
	if err := s.Publish(t.Context(), capability.Effective{Capability: name, Revision: revision, Epoch: epoch}); err != nil {
		t.Fatal(err)
	}
}

// lose deletes keys behind the store's back.
func (s *Store) lose(t *testing.T, dir string) {
	t.Helper()
	if _, err := s.client.KV().DeleteTree(s.key(dir), nil); err != nil {
		t.Fatal(err)
	}
}

// loaded writes what Load returns on one line: each capability with its weight,
// then each problem.
func (s *Store) loaded(t *testing.T) string {
	t.Helper()
	documents, problems, err := s.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return documentstest.Show(documents, problems)
}

func (s *Store) expect(t *testing.T, want string) {
	t.Helper()
	if got := s.loaded(t); got != want {
		t.Fatalf("got %q, want %q", got, want)
	}
}

// become waits, by a watch, until Load returns what is wanted.
func (s *Store) become(t *testing.T, signals <-chan struct{}, want string) {
	t.Helper()
	timeout := time.After(deadline)
	got := ""
	for {
		select {
		case _, open := <-signals:
			if !open {
				t.Fatal("the channel was closed")
			}
			if got = s.loaded(t); got == want {
				return
			}
		case <-timeout:
			t.Fatalf("has %q, want %q", got, want)
		}
	}
}

// watching is a watch until the test ends, and waits for its end.
func (s *Store) watching(t *testing.T) <-chan struct{} {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	signals := s.Watch(ctx)
	t.Cleanup(func() {
		cancel()
		for range signals { //nolint:revive // until it is closed
		}
	})
	return signals
}

func (s *Store) revision(t *testing.T, name string) uint64 {
	t.Helper()
	states, err := s.Effective(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return states[name].Revision
}

// keys lists what is below a folder in Consul itself.
func (s *Store) keys(t *testing.T, dir string) api.KVPairs {
	t.Helper()
	pairs, _, err := s.client.KV().List(s.key(dir)+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	return pairs
}
