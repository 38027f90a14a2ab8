package config

import (
	"log/slog"
	"time"

	"strangler/capability"
)

// Config is config.yaml: where this process listens, where the monolith is, and
// the bounds that hold for all capabilities.
type Config struct {
	File      string
	Listen    string // host:port for clients
	Admin     string // host:port for the API and the metrics
	Advertise string // host:port under which others reach Admin; empty: told from it
	// AdminNames are names under which Admin is asked, beside its own.
	AdminNames []string
	Zone       string // of this process; endpoints of the same are preferred. Empty: none is
	Edge       Edge
	Legacy     Legacy
	Routes     string // directory of the documents
	State      string // directory for what the program writes
	Store      Store
	Consul     *Consul
	Switch     capability.Times
	Leases     Leases
	Hold       Hold
	Restraint  capability.Restraint // of movers
	Rate       int                  // rows per second a backfill may copy where its document says nothing; 0: unbounded
	Log        Log
}

// Legacy is the monolith. Timeout, Allow and Concurrency are for the requests
// that no capability claims; the others have those of their document.
type Legacy struct {
	Upstream    capability.Upstream
	Database    string        // empty: no capability can move data
	Timeout     time.Duration // 0: none
	Allow       []capability.Oddity
	Concurrency *capability.Concurrency // nil: unbounded
}

// Store names where documents, effective states and registrations are kept.
type Store string

// The two stores. StoreConsul is accepted with a consul section only.
const (
	StoreFiles  Store = "files"
	StoreConsul Store = "consul"
)

// Leases are how long a process that has died, or is cut off, keeps the others waiting.
type Leases struct {
	Controller time.Duration // until another one leads
	Proxy      time.Duration // until a switch goes past it
}

// DefaultLeases are those of a configuration that says nothing.
func DefaultLeases() Leases { return Leases{Controller: 6 * time.Second, Proxy: 15 * time.Second} }

// Hold bounds the writes that wait during a switch, per process.
type Hold struct {
	Requests int
	Bytes    int64 // of their bodies, in memory
	Release  int   // a second, per capability, when the owner is known
}

// Log says what is logged and how.
type Log struct {
	Level  slog.Level
	Format string // json or text
	Access bool   // one line per request
}
