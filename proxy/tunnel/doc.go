// Package tunnel carries upgraded connections: two byte streams, a client's and an
// upstream's, from the 101 on.
//
// It owns half-closes, idle times, and the set of open tunnels, because a server
// that shuts down does not know connections that were taken from it. Its caller
// owns the exchange that led to the upgrade.
//
// A tunnel holds nothing of a routing table: it lives as long as its two ends do,
// whatever is loaded meanwhile.
package tunnel
