package edge

import (
	"log/slog"
	"sync/atomic"
)

// mostResets is how many requests of one HTTP/2 connection may be taken back
// before they were answered, if they are half of all or more. Each costs a
// connection to an upstream, and the client next to nothing (CVE-2023-44487).
const mostResets = 500

// streams counts the requests of one HTTP/2 connection.
type streams struct {
	begun, reset atomic.Int64
	leaving      atomic.Bool  // the client was told to go
	trailing     atomic.Int64 // that run and have announced a trailer
}

// takenBack notes a request that its client has reset before the answer began, and
// reports whether the connection is to take no more.
func (a *answer) takenBack() bool {
	st := a.streams
	if st == nil || a.request.Context().Err() == nil {
		return false
	}
	a.server.counters.resets.Add(1)
	reset := st.reset.Add(1)
	if reset < mostResets || 2*reset < st.begun.Load() {
		return false
	}
	if !st.leaving.Swap(true) {
		a.server.counters.lines.leaving.Log(a.server.log, slog.LevelWarn, "a client takes back most of its requests; it is told to go",
			slog.String("peer", a.request.RemoteAddr), slog.Int64("taken_back", reset))
	}
	return true
}
