// Package limit bounds what one capability can take from the proxy: how many of
// its requests are at a side at once (Bulkhead), and how many of its retries
// (Budget).
//
// It knows no request: its caller says when one begins and ends, and answers for
// those that are turned away.
package limit
