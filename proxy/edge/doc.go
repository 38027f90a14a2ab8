// Package edge is where clients arrive: listeners, TLS, what a connection may
// cost, and which peers are believed when they speak for others.
//
// It owns everything up to the moment at which a well-formed request is handed
// to the http.Handler of its caller, and the end of it all: draining, and handing
// the listeners to the next process. It knows no route and no capability.
package edge
