package consul

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/consul/api"

	"strangler/capability"
	"strangler/internal/documents"
)

// The errors of every store.
var (
	ErrConflict = documents.ErrConflict
	ErrUnknown  = documents.ErrUnknown
)

// ErrTooLarge says that Consul would not take a value.
var ErrTooLarge = errors.New("larger than the 512 KiB that consul stores")

// DefaultPrefix is the folder of keys of a Store that is told no other.
const DefaultPrefix = "strangler"

// defaultTTL is how long a registration outlives its last renewal, at least; Consul
// may take twice as long to notice.
const defaultTTL = 30 * time.Second

// StoreOptions are what a Store needs. Client, Decode and Apply must be given.
type StoreOptions struct {
	Client *api.Client
	Prefix string // folder of keys; empty: DefaultPrefix
	// Snapshot is the directory for what was last good, from which a start without
	// Consul serves. Processes of one machine and one prefix may share it. Empty: none
	// is kept.
	Snapshot string
	Stale    time.Duration // oldest answer of a follower that wakes a watch; 0: 10 s
	TTL      time.Duration // after which a registration that is not renewed vanishes, 10 s to 24 h; 0: 30 s
	// Decode turns the contents of the documents, by file name, into those that
	// are good and the problems of the others, each with its file. The dir it is
	// given is the folder of keys.
	Decode func(dir string, contents map[string][]byte) ([]capability.Document, []capability.Problem)
	// Apply edits the content of one document in place.
	Apply func(content []byte, edit capability.Edit) ([]byte, error)
	Log   *slog.Logger
}

// Store is safe for concurrent use, and for any number of processes anywhere.
type Store struct {
	client  *api.Client
	prefix  string
	saved   string
	ttl     time.Duration
	entries int              // of the ledger, that are kept of each capability
	folder  documents.Folder // of the documents
	log     *slog.Logger
	bounds  bounds
	now     func() time.Time

	turn   chan struct{} // one token: who holds it uses last
	last   last
	unsure atomic.Bool                                     // what Load last returned is not all that Consul says
	quiet  map[string]*atomic.Pointer[quiet]               // by folder; nil: it may be asked
	heard  atomic.Pointer[map[string]capability.Effective] // what the last answer to a watch said

	mu       sync.Mutex
	sessions map[string]string // of our registrations, by id of the proxy; guarded by mu
	stamp    int64             // of the newest ledger entry; guarded by mu
}

// last is what was last good. Who holds the turn uses it.
type last struct {
	documents map[string][]byte               // by file name; nil: neither heard nor read from disk
	states    map[string]capability.Effective // by capability; nil likewise
	held      map[string]bool                 // states that Consul has lost
	disk      map[string]map[string][]byte    // by directory: its files, as we have read or written them
	silent    map[string]silence              // by folder; those that have an answer are not there
	emptied   time.Time                       // since when no document is left; zero: some are
	wiped     bool                            // the states went with them
}

// NewStore returns a store. It asks nothing and touches nothing on disk.
func NewStore(o StoreOptions) *Store {
	s := &Store{
		client: o.Client, prefix: strings.Trim(o.Prefix, "/"), saved: o.Snapshot, ttl: o.TTL, entries: ledgerEntries,
		log: o.Log, bounds: defaultBounds(), now: time.Now,
		turn: make(chan struct{}, 1), quiet: map[string]*atomic.Pointer[quiet]{routes: {}, effective: {}},
		last: last{held: map[string]bool{}, disk: map[string]map[string][]byte{}, silent: map[string]silence{}}, sessions: map[string]string{},
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.prefix == "" {
		s.prefix = DefaultPrefix
	}
	s.folder = documents.Folder{Dir: s.key(routes), Decode: o.Decode, Apply: o.Apply}
	if s.ttl == 0 {
		s.ttl = defaultTTL
	}
	if o.Stale > 0 {
		s.bounds.stale = o.Stale
	}
	return s
}

// enter waits for the turn; leave gives it back.
func (s *Store) enter(ctx context.Context) error {
	select {
	case s.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for the store: %w", context.Cause(ctx))
	}
}

func (s *Store) leave() { <-s.turn }
