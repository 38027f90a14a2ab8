// Package proxy is the data plane: it decides for each request of a client
// which of the two sides answers it, and forwards it there.
//
// One request takes these steps, each in a file of its own: match (which
// capability claims it), hold (writes wait while the owner changes), assign
// (which side), break (is that side well), forward (the exchange itself) and
// record (metrics and the access log).
//
// The package owns the routing table, which is built whole and swapped by one
// atomic store, and what outlives a table: writes in flight, held requests,
// marks, breakers and connection pools. Its caller owns where documents and
// effective state come from (Update), where endpoints are found (Discovery),
// who answers for the databases (Marks), and the admin API. The proxy itself
// never talks to a database, and never waits for the controller to serve a
// request: what it does not know makes it stay with the owner.
package proxy
