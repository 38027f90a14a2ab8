package files

import (
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"strangler/capability"
	"strangler/internal/documents"
)

// The errors of every store.
var (
	ErrConflict = documents.ErrConflict
	ErrUnknown  = documents.ErrUnknown
)

// Options are what a Store needs; all but Log must be given.
type Options struct {
	Routes string // directory of the documents; never written but by Edit
	State  string // directory of the state; made when first written
	// Decode turns the contents of the documents, by file name, into those that
	// are good and the problems of the others, each with its file.
	Decode func(dir string, contents map[string][]byte) ([]capability.Document, []capability.Problem)
	// Apply edits the content of one document in place.
	Apply func(content []byte, edit capability.Edit) ([]byte, error)
	Log   *slog.Logger
}

// Store is safe for concurrent use, and for several processes on one machine.
// It does not work on file systems without flock and atomic rename.
type Store struct {
	folder documents.Folder // of the documents
	state  string
	log    *slog.Logger
	now    func() time.Time
	turn   chan struct{} // one token: who holds it may take the lock file
	bound  int64         // of the ledger, in bytes

	waiting atomic.Bool // what Load last returned has a document that is about to be gone

	mu      sync.Mutex
	good    map[string][]byte    // last good content by file name; nil until read; guarded by mu
	missing map[string]time.Time // good files that are gone, since when; guarded by mu
}

// New returns a store. It touches nothing on disk.
func New(o Options) *Store {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Store{
		folder: documents.Folder{Dir: o.Routes, Decode: o.Decode, Apply: o.Apply}, state: o.State, log: o.Log,
		now: time.Now, turn: make(chan struct{}, 1), bound: ledgerBound, missing: map[string]time.Time{},
	}
}

func (s *Store) path(parts ...string) string {
	return filepath.Join(append([]string{s.state}, parts...)...)
}
