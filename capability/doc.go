// Package capability is the core of strangler: the words of the domain as Go
// types, and the decisions that need nothing but their arguments.
//
// A capability is one business slice of a monolith: its routes, its tables and
// the service that replaces it. This package owns what a capability *is*
// (Document, Effective), who of its two sides may take writes (Gate, Decide),
// in which order a switch of the owner happens (SwitchPlan), and which side one
// subject is assigned to (Assign). It does no I/O, starts no goroutine and reads
// no clock; callers bring bytes, times and random numbers, and act on the
// answers.
package capability
