package capability

import "time"

// Restraint is what a mover spares its databases. The zero value spares nothing.
type Restraint struct {
	// Copies and comparisons wait while a standby of either database is further
	// behind than that; 0: they do not.
	ReplicaLag time.Duration
	// They wait while more sessions than that are at work in either database, those
	// of the product not counted; 0: they do not.
	Busy int
	// They wait while a replication slot of either cluster, that is not the
	// product's, is so many bytes of log from being given up; 0: they do not.
	Headroom int64
	// A stream whose source has kept more bytes than that for it is given up, before
	// it fills the source's disk; 0: never.
	Retain int64
}

// Waits says whether copies and comparisons ever wait.
func (r Restraint) Waits() bool { return r.ReplicaLag > 0 || r.Busy > 0 || r.Headroom > 0 }

// DefaultRestraint is that of a configuration that says nothing.
func DefaultRestraint() Restraint {
	return Restraint{ReplicaLag: 2 * time.Second, Headroom: 1 << 30, Retain: 32 << 30}
}
