// Package edge is where clients arrive: listeners, TLS, what a connection may
// cost, and which peers are believed when they speak for others.
//
// It owns everything up to the moment at which a well-formed request is handed
// to the http.Handler of its caller, and the end of it all: draining, and handing
// the listeners to the next process. It knows no route and no capability.
//
// A connection goes through a wire (its place among the open ones, stalled
// writes), TLS, and, when it speaks HTTP/1, a guard (framing, stalled bodies).
// net/http parses and serves both protocols. The caller wires signals: one ends
// the context of Server.Run, another calls Listeners.HandOver and then does the same.
//
// It needs a Unix: descriptors are passed on, and the kernel is asked what lies
// unread.
package edge
