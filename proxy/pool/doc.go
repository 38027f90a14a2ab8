// Package pool holds the endpoints of one side: which there are, which are well,
// and which takes the next request.
//
// It owns the connections of every endpoint (a Leg each), active checks, passive
// ejection, slow start and the choice between endpoints. Its caller owns where
// addresses come from (Discovery), what a request is, how often it is tried, and
// says of each attempt how it ended.
//
// A Leg is the one way to an endpoint: the standard library's connections today,
// pooled here, because net/http's own pool may send a request twice.
package pool
