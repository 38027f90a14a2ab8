// Package migrate is the data mover: it brings a capability's tables from one
// database into another and keeps the two equal, in both directions, while both
// are in use.
//
// It owns the order of things: plan, backfill, the two streams, verification,
// and what a switch of the owner asks of the data. It holds no SQL: whatever is
// said to a database is said by an adapter, behind interfaces that are declared
// here, next to the code that uses them. It does not decide who owns the tables
// (that is read off the gates) nor when to switch (that is the controller's),
// and it never talks to the proxy.
//
// Forward and reverse are one type, Stream, with source and target swapped.
package migrate
