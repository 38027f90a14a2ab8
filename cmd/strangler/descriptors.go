package main

import (
	"fmt"
	"strconv"
	"syscall"

	"strangler/capability"
	"strangler/internal/config"
)

// otherFiles is how many descriptors a proxy may need beside those of its clients'
// requests: listeners, files, admin, Consul, databases, checks of endpoints.
const otherFiles = 256

// descriptors says what is wrong with the limit of open files, if anything is: a
// client's connection needs a second one to an upstream. The runtime has raised the
// soft limit to the hard one already. Without it, accepting and dialing fail alike,
// and the sides are blamed for what is our own want.
func descriptors(settings config.Config) []capability.Problem {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return nil // nothing is known, so nothing is wrong
	}
	connections := settings.Edge.Limits.Connections
	need := uint64(connections)*2 + otherFiles
	if limit.Cur >= need {
		return nil
	}
	return []capability.Problem{{
		File: settings.File, Path: "edge.limits.connections", Value: strconv.Itoa(connections),
		Message: fmt.Sprintf("may need %d open files, and this user may open %d", need, limit.Cur),
		Mend:    fmt.Sprintf("raise the limit (ulimit -n, LimitNOFILE= of systemd, ulimits of Docker), or write %d at most", max(1, (int64(limit.Cur)-otherFiles)/2)),
	}}
}
