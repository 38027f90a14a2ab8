package capability

import "time"

// MovePhase is where the data of a capability stands.
type MovePhase string

// The phases of a move, in the order in which a healthy one passes them.
const (
	PhaseNone      MovePhase = "none"      // no data section, or stopped and never started
	PhasePreparing MovePhase = "preparing" // gates, publications, slots
	PhaseBackfill  MovePhase = "backfill"
	// PhaseCompleting is between the last row that is copied and the streams: what
	// changed meanwhile is applied, indexes and constraints are made.
	PhaseCompleting MovePhase = "completing"
	PhaseFollowing  MovePhase = "following" // both streams run
	PhaseWaiting    MovePhase = "waiting"   // they would, if somebody did what Error says; then it goes on by itself
	PhaseRepairing  MovePhase = "repairing" // a target that cannot be followed to is compared and made equal
	PhasePaused     MovePhase = "paused"
	PhaseFailed     MovePhase = "failed" // Error says why and what to do
	// PhaseRetiring is from the first step of a retirement to its last: nothing runs.
	PhaseRetiring MovePhase = "retiring"
	PhaseRetired  MovePhase = "retired" // nothing is left of the move
)

// StreamStatus is one direction of the dual write.
type StreamStatus struct {
	From      Side          `json:"from"`
	Live      bool          `json:"live"`
	Position  Position      `json:"position"`       // applied on the target, durably
	LagBytes  uint64        `json:"lag_bytes"`      // log of the source not yet applied
	Lag       time.Duration `json:"lag_ns"`         // age of the oldest change not yet applied; 0 when caught up
	Retained  int64         `json:"retained_bytes"` // what the source keeps for the stream
	Headroom  int64         `json:"headroom_bytes"` // until the source gives the stream up by itself; -1: never
	Changes   uint64        `json:"changes"`        // applied since the process started
	Changed   int           `json:"changed"`        // keys applied and not verified since
	Error     string        `json:"error,omitempty"`
	UpdatedAt time.Time     `json:"updated_at,omitzero"`
}

// BackfillStatus is the progress of copying the rows that exist.
type BackfillStatus struct {
	Rows       int64           `json:"rows"`       // copied, by earlier runs as well
	Total      int64           `json:"total"`      // estimated by what is copied
	Bytes      int64           `json:"bytes"`      // sent, by this run
	Size       int64           `json:"size"`       // of the source's tables on disk, when they were measured
	Done       int64           `json:"done"`       // of Size
	Table      string          `json:"table"`      // being copied
	PerSecond  float64         `json:"per_second"` // rows, over this run
	Left       time.Duration   `json:"left_ns"`    // to the end of the copy at that rate; 0: unknown
	Elapsed    time.Duration   `json:"elapsed_ns"`
	Throttled  string          `json:"throttled,omitempty"` // why it goes slower than it could
	Retained   int64           `json:"retained_bytes"`      // what the source keeps meanwhile of what changes
	Tables     []TableBackfill `json:"tables,omitempty"`    // the largest first
	FinishedAt time.Time       `json:"finished_at,omitzero"`
}

// TableBackfill is the progress of one table of a backfill.
type TableBackfill struct {
	Table string `json:"table"` // by its legacy name
	Rows  int64  `json:"rows"`  // copied
	Size  int64  `json:"size"`  // bytes on disk
	Done  int64  `json:"done"`  // of Size
}

// CompletionStatus is the progress of what follows a copy.
type CompletionStatus struct {
	Built    int    `json:"built"` // indexes and constraints, each a step or two
	Total    int    `json:"total"`
	Building string `json:"building,omitempty"` // for people
}

// VerifyMethod is how rows are compared that are written meanwhile.
type VerifyMethod string

const (
	// BySnapshots reads both sides at one position of the source's changes.
	BySnapshots VerifyMethod = "snapshots"
	// ByRecheck reads the target at a later one, and again what then differs.
	ByRecheck VerifyMethod = "recheck"
)

// VerifyStatus is one comparison of all rows of source and target.
type VerifyStatus struct {
	Running    bool          `json:"running"`
	Throttled  string        `json:"throttled,omitempty"` // why it waits
	Rows       int64         `json:"rows"`                // compared
	Total      int64         `json:"total"`
	Mismatches []Mismatch    `json:"mismatches,omitempty"` // the first hundred
	Count      int64         `json:"mismatch_count"`
	Repaired   int64         `json:"repaired,omitempty"`     // rows made equal before this comparison
	Skipped    []string      `json:"not_compared,omitempty"` // table or column, and why
	Position   Position      `json:"position"`               // of the source, at which both were read; with Recheck, that the target had passed
	Method     VerifyMethod  `json:"method,omitempty"`
	Reason     string        `json:"method_reason,omitempty"` // why not by snapshots
	Took       time.Duration `json:"took_ns"`
	FinishedAt time.Time     `json:"finished_at,omitzero"` // zero: never finished
	Error      string        `json:"error,omitempty"`
}

// Mismatch is one row that differs, or exists on one side only. Values are not
// shown: they may be secret.
type Mismatch struct {
	Table  string `json:"table"` // by its legacy name
	Key    string `json:"key"`
	Detail string `json:"detail"` // "only in legacy", "column total differs"
}

// Conflict is a change at which a stream has ended, because it does not fit the rows
// of the other side. It has values, and is given to those who ask for them only.
type Conflict struct {
	From   Side    `json:"from"`
	Table  string  `json:"table"`  // of the other side
	Change string  `json:"change"` // insert, update, delete
	Detail string  `json:"detail"`
	Said   string  `json:"said,omitempty"`   // by the other side's server, about the values
	Values []Field `json:"values,omitempty"` // that the change brings, under the other side's names
	Rows   []Row   `json:"rows"`             // as they are now, of the source first
}

// Difference is a row that a verification has found to differ, with its values. It is
// given to those who ask for them only.
type Difference struct {
	Mismatch
	Rows []Row `json:"rows"` // as they are now, of the owner first
}

// Row is what a side has under a key.
type Row struct {
	Side   Side    `json:"side"`
	Table  string  `json:"table"`
	Key    []Field `json:"key"`
	There  bool    `json:"there"`
	Values []Field `json:"values,omitempty"`
}

// Field is one column's value as text; nil: NULL.
type Field struct {
	Column string  `json:"column"`
	Value  *string `json:"value"`
}

// DataStatus is where the data of one capability stands, both directions.
type DataStatus struct {
	Phase      MovePhase         `json:"phase"`
	Error      string            `json:"error,omitempty"`
	Backfill   *BackfillStatus   `json:"backfill,omitempty"`
	Completion *CompletionStatus `json:"completion,omitempty"`
	Streams    []StreamStatus    `json:"streams,omitempty"` // forward, then reverse
	Verify     *VerifyStatus     `json:"verify,omitempty"`
	Gates      map[Side]Gate     `json:"gates,omitempty"`
	// Refused is what each gate has refused since the move began.
	Refused map[Side]Refusals `json:"refused,omitempty"`
}

// Readiness says whether the owner could be switched now, and what it would
// cost.
type Readiness struct {
	To    Side `json:"to"`
	Ready bool `json:"ready"`
	// Verify says that a switch would compare every row first, because nobody has
	// kept what was written since the last time.
	Verify  bool     `json:"verify_first,omitempty"`
	Reasons []string `json:"reasons,omitempty"` // why not
	Summary string   `json:"summary"`           // one sentence for people
	// Gap is for how long writes would wait, by the last switch or rehearsal; 0: unknown.
	Gap time.Duration `json:"gap_ns,omitempty"`
}

// Status is everything the controller knows of one capability.
type Status struct {
	Capability string     `json:"capability"`
	Effective  Effective  `json:"effective"`
	Desired    Desired    `json:"desired"`
	Data       DataStatus `json:"data"`
	Switch     Readiness  `json:"switch"` // to the side that does not own
	Proxies    []Serving  `json:"proxies,omitempty"`
	Missing    []string   `json:"missing_proxies,omitempty"` // registered, but silent
	Problems   []Problem  `json:"problems,omitempty"`        // of the document, while the last good one serves
}

// Desired is the part of the document that a status is held against.
type Desired struct {
	Owner  Side      `json:"owner"`
	Weight Weight    `json:"weight"`
	Mirror Weight    `json:"mirror"`
	Data   DataState `json:"data,omitempty"`
}

// Entry is one line of the ledger: every change of something that matters, who
// asked for it, and the evidence on which it was done.
type Entry struct {
	At         time.Time      `json:"at"`
	Capability string         `json:"capability"`
	Actor      string         `json:"actor"` // cli:ROLE, document, controller
	Action     string         `json:"action"`
	From       string         `json:"from,omitempty"`
	To         string         `json:"to,omitempty"`
	Outcome    string         `json:"outcome"`
	Evidence   map[string]any `json:"evidence,omitempty"`
}

// Progress is one line of what a long command has to say while it works.
type Progress struct {
	Step    StepName      `json:"step,omitempty"`
	State   string        `json:"state"` // started, done, failed, undone, result
	Message string        `json:"message,omitempty"`
	Took    time.Duration `json:"took_ns,omitempty"`
	Done    int64         `json:"done,omitempty"`  // of a counted work
	Total   int64         `json:"total,omitempty"` // estimated
	Result  any           `json:"result,omitempty"`
}

// Edit is one change of a document, made in place so that comments and order
// stay. Nil fields are left as they are.
type Edit struct {
	Owner  *Side
	Weight *Weight
	Mirror *Weight
	State  *DataState
	// Breakers are the operator's hand on the breaker of a side.
	Breakers map[Side]BreakerMode
}
