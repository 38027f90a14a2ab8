package migrate

import "strangler/capability"

// Snapshot is what a capture exports: the source as it was when exactly the
// transactions whose commit record starts before Position were committed. It can
// be imported (SET TRANSACTION SNAPSHOT) until Close, which ends the connection
// that holds it open, and with it what was made for it alone.
type Snapshot struct {
	Position capability.Position
	Name     string
	Close    func() error
}

// Progress is what a target has applied of one source: the row that commits with
// the changes it covers.
type Progress struct {
	Capability string
	From       capability.Side
	Position   capability.Position // every transaction that ended up to here is applied
	Fence      uint64              // token of the controller that may write it
	Source     capability.Identity // of the source, when the stream was made
}
