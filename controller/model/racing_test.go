//go:build race

package model

// racing says that every access to memory is watched, which makes a search ten times
// slower, and finds nothing: it is one goroutine's.
const racing = true
