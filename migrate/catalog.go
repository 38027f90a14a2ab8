package migrate

import (
	"context"

	"strangler/capability"
)

// Catalog answers, about one database, what a plan is made from. It changes
// nothing.
type Catalog interface {
	// Tables describes the named tables, in the order asked. A table that does
	// not exist has no Kind.
	Tables(ctx context.Context, relations []Relation) ([]Table, error)
	// Facts tells what else matters about the named tables, in the order asked.
	Facts(ctx context.Context, relations []Relation) ([]Facts, error)
	// ForeignKeys returns the foreign keys with at least one end in the named
	// tables, by name of table and constraint.
	ForeignKeys(ctx context.Context, relations []Relation) ([]ForeignKey, error)
	// Sequences returns the sequences that fill columns of the named tables.
	Sequences(ctx context.Context, relations []Relation) ([]Sequence, error)
	// NamedSequences returns those of the named sequences that are there. They fill no
	// column, as far as is told.
	NamedSequences(ctx context.Context, sequences []Relation) ([]Sequence, error)
	// LooseSequences returns the sequences in the tables' schemas that belong to no
	// column and that no default draws from.
	LooseSequences(ctx context.Context, tables []Relation) ([]Relation, error)
	// Rights lists what the role of the mover lacks in this database and what the
	// server lacks for a stream from it, by that capture, and into it, each with
	// the statement that mends it. kept names the foreign keys that a switch leaves
	// alone.
	Rights(ctx context.Context, relations []Relation, capture capability.Capture, running bool, kept []string) ([]capability.Problem, error)
}

// Facts are what a plan must know of a table besides its columns.
type Facts struct {
	Filled       bool   // has at least one row
	Unlogged     bool   // or temporary: its changes are not in the log
	Partition    bool   // is a partition of another table
	Root         string // that table, as statements write it
	Partitions   []PartitionFacts
	Default      bool     // some partition takes every row
	Inherits     bool     // has parents or children by inheritance
	Family       []string // parents and children, by inheritance or as partitions
	Forced       string   // the role of the mover, where row level security hides rows even from the owner
	Subscribed   bool     // fed by a native subscription, whose apply fires no ordinary triggers
	Invalid      []string // indexes that are not valid
	Deferred     bool     // its primary key is deferrable, and so identifies no row in the log
	ReplicaID    string   // of pg_class: d, n, f, i; empty where no log has to name rows
	ReplicaIndex string   // for i: that index
	Primary      *Unique  // the primary key, if there is one
	Rules        []string // rewrite rules
	Always       []string // triggers that fire for the mover's writes as well
	Ordinary     []string // triggers that fire for applications only
	Rewriting    []string // those of them that seem to write the table itself, once a row of it is written
	Policies     []string // of row level security
	Publications []string // of others: their subscribers read the table
	Checks       []Check
	Uniques      []Unique // besides the primary key
	Total        int64    // bytes on disk, with indexes
	// Number is the column of a primary key that is one integer and no foreign key:
	// somebody must make the numbers. NumberedBy are triggers that seem to.
	Number     string
	NumberedBy []string
	// Holds are, by column, the types that its type is made of: what is
	// behind domains and within arrays, rows and ranges. Most columns have none.
	Holds map[string][]string
	// Unequal are columns of domains over enums, for which PostgreSQL has no equality.
	Unequal []string
}

// PartitionFacts are what matters of one partition of a table.
type PartitionFacts struct {
	Name     string   // as statements write it
	Relation Relation // the same
	Unlogged bool     // its changes are not in the log
	Unnamed  bool     // the log does not name its rows by the primary key
	Brief    bool     // the log tells no more of its old rows than names them
	Always   []string // triggers of its own that fire for the mover's writes as well
}

// Check is one CHECK constraint.
type Check struct{ Name, Definition string }

// Unique is an index that refuses a row because of another one.
type Unique struct {
	Name       string
	Constraint bool     // and not just an index
	Columns    []string // nil where it is over expressions
	Whole      bool     // over all rows: no WHERE
	Exclusion  bool     // by other operators than equality
	Deferrable bool
	NullsEqual bool   // NULLS NOT DISTINCT
	Definition string // without its own name and the table's
}

// ForeignKey is one foreign key constraint.
type ForeignKey struct {
	Name       string
	From, To   Relation // From references To
	Columns    []string // of From, each with that of To at the same place
	Referred   []string
	OnDelete   string // of pg_constraint: a (nothing), r, c, n, d
	OnUpdate   string
	Definition string // as ALTER TABLE … ADD CONSTRAINT takes it
	Validated  bool
}

// Writes says whether the constraint changes or deletes rows of From when rows
// of To change.
func (k ForeignKey) Writes() bool {
	quiet := func(action string) bool { return action == "a" || action == "r" }
	return !quiet(k.OnDelete) || !quiet(k.OnUpdate)
}

// Sequence is one sequence, seen from a column that it fills, if there is one.
type Sequence struct {
	Relation
	Table    Relation // no name: the document names the sequence
	Column   string
	Identity bool // belongs to an identity column
	Owned    bool // goes when the column goes
	Numbers  bool // the column holds numbers, and no text that is made with them

	Type                               string
	Increment, Min, Max, Start, Cached int64
	Cycle                              bool
	Last                               int64 // handed out last, or to be handed out first
	Called                             bool  // false: Last was not handed out yet
	// Grant is the statement that gives the mover's role what it lacks to read and
	// set it. Where that is something, Last and Called are not known.
	Grant string
}
