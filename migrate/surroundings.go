package migrate

import (
	"context"
	"time"

	"strangler/capability"
)

// Surroundings answers, about one database, what tables hang together with
// besides each other. It changes nothing.
type Surroundings interface {
	// Parts returns what the tables are made of besides tables, and the objects
	// asked for that are there: each after what it needs.
	Parts(ctx context.Context, relations []Relation, also []Part) ([]Part, error)
	// Dependents returns the objects outside the tables that the catalog knows to
	// use them.
	Dependents(ctx context.Context, relations []Relation) ([]Dependent, error)
	// Routines returns the code that applications and triggers run in the
	// database, and the names of all its tables.
	Routines(ctx context.Context) ([]Routine, []Relation, error)
	// Server tells how the server is set up and what keeps it busy.
	Server(ctx context.Context) (Server, error)
}

// Part is something that tables are made of.
type Part struct {
	Kind       string // type, function, collation, extension, or other: what is made by hand
	Name       string // as statements write it
	Schema     string
	Version    string // of an extension; of a collation, the system's of now
	Recorded   string // of a collation: the version that indexes were built with
	Definition string // the statement that makes it; empty where it came with the server
}

// Dependent is an object outside a capability that uses one of its tables, or a
// table outside that something of the capability uses.
type Dependent struct {
	Kind   string   `json:"kind"` // view, materialized view, function, trigger, rule, policy, sequence
	Name   string   `json:"name"`
	Table  Relation `json:"-"`
	On     string   `json:"table"`           // Table as people write it
	Access string   `json:"access"`          // reads, writes, draws from, or names
	Found  string   `json:"found"`           // catalog, or text: a word in the source that may mean something else
	Means  string   `json:"means,omitempty"` // what becomes of it
}

// Routine is a function or procedure, or a trigger with the function it calls.
type Routine struct {
	Name    string
	Trigger string   // empty: called by statements
	On      Relation // of a trigger
	Fires   bool     // a trigger that is not disabled
	Body    string
}

// Server is how a server is set up, and what keeps it busy now.
type Server struct {
	Version    int // as server_version_num
	Standby    bool
	Pooled     bool // the connection ends at a pooler and not at the server
	Role       string
	Collation  Part              // of the database
	Extensions map[string]string // that can be made, with the version that would come

	Slots, SlotsTaken             int
	Senders, SendersTaken         int
	Connections, ConnectionsTaken int   // without those reserved for superusers
	KeepSize                      int64 // max_slot_wal_keep_size in bytes; negative: without bound
	LogRate                       float64
	Decoders                      []Decoder
	Prepared                      []Waiting
	Writing                       []Waiting // transactions that hold up a slot or a gate
	Sharing                       []string  // applications that log in as the mover's role
	Blind                         bool      // the role sees only its own sessions
	LargeObjects                  bool
}

// Decoder is a slot that reads the whole log of the server.
type Decoder struct {
	Name, Plugin, Database, Status string
	Active                         bool
	Retained                       int64 // bytes of log kept for it
}

// Waiting is a transaction that others wait for.
type Waiting struct {
	Name, User, Application, Database string
	PID                               int
	Since                             time.Time
	Age                               time.Duration
}

// Remark is what a person should know before a move, and the statement or step
// that changes it, where there is one.
type Remark struct {
	Side    capability.Side `json:"side,omitempty"`
	Message string          `json:"message"`
	Mend    string          `json:"mend,omitempty"`
}
