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
	// Code returns what runs inside the database.
	Code(ctx context.Context) (Code, error)
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
// trigger of the capability that uses a table outside.
type Dependent struct {
	Kind   string `json:"kind"` // view, materialized view, function, trigger, rule, policy, sequence
	Name   string `json:"name"`
	On     string `json:"on,omitempty"` // the table of a trigger, a rule or a policy
	Table  string `json:"table"`        // that it uses
	Access Access `json:"access"`
	Found  string `json:"found"` // catalog, or text: a word of the source, which may mean something else
	Means  string `json:"means"` // what becomes of it
}

// Access says what is done with a table.
type Access string

// Names means that it cannot be told which. A view may be written through.
const (
	Reads     Access = "reads"
	Writes    Access = "writes"
	Names     Access = "names"
	MayWrite  Access = "reads and may write"
	DrawsFrom Access = "draws from"
)

// Where a Dependent was found.
const (
	FoundCatalog = "catalog"
	FoundText    = "text"
)

// Code is what runs inside a database, without what extensions bring.
type Code struct {
	Routines []Routine
	Triggers []Trigger
	Tables   []Relation // all of the database
}

// Routine is a function or procedure in a language that can be read.
type Routine struct {
	Name     string // with arguments, as statements write it
	Trigger  bool   // called by triggers only
	Settings []string
	Body     string
}

// Trigger calls a function when a table is written.
type Trigger struct {
	Name     string
	On       Relation
	Routine  string
	Disabled bool
}

// Server is how a server is set up, and what keeps it busy now.
type Server struct {
	Standby    bool
	Pooled     bool   // the connection ends at a pooler and not at the server
	Database   string // and Role, as statements write them
	Role       string
	Collation  Part              // of the database
	Extensions map[string]string // that could be made, with the version that would come

	Slots, SlotsTaken     int
	Origins, OriginsTaken int    // replication origins: writing sessions of ours have one each, also where triggers capture
	OriginsBy             string // the setting that bounds them
	Senders, SendersTaken int
	Places, PlacesTaken   int     // for connections, without those kept for superusers
	KeepSize              int64   // max_slot_wal_keep_size in bytes; negative: without bound
	LogRate               float64 // bytes a second, since the statistics were reset; 0: not known
	Decoders              []Decoder
	Waits                 []Waiting // transactions that hold up a slot or a gate
	Sharing               []string  // applications that log in as the mover's role
	Blind                 bool      // the role does not see what other sessions do
	LargeObjects          bool
}

// Decoder is a slot that reads the whole log of the server.
type Decoder struct {
	Name, Plugin, Database string
	Active                 bool
	Retained               int64 // bytes of log kept for it
}

// Waiting is a transaction that others wait for.
type Waiting struct {
	Prepared                          string // its identifier; empty: a session's
	PID                               int    // of a session
	User, Application, Database, Does string
	Since                             time.Time
}

// Remark is what a person should know before a move, and the statement or step
// that changes it, where there is one.
type Remark struct {
	Side    capability.Side `json:"side,omitempty"` // empty: both
	Message string          `json:"message"`
	Mend    string          `json:"mend,omitempty"`
}
