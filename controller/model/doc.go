// Package model checks the protocol of a switch by going through everything that
// can happen in it, at small bounds: two controllers, two databases with a gate
// each, writers, proxies, the streams between the databases, in every order, with
// every loss of an answer and every crash that the bounds allow.
//
// What a controller does is not written down here a second time. The model calls
// what the product calls: capability.Decide and capability.Transitions for the
// gates, capability.Ask, Mend, Finish, Reopen and AfterSealing for the changes of
// them, capability.Walk for the plan, controller.Decide for a look (product.go has
// all of it). What surrounds a controller is written down here: the databases
// (held against PostgreSQL by a test of the adapter), the store, the proxies, the
// streams and whoever writes.
//
// Clocks are not modelled. Whether a lease has run out is asked often, and the
// answer may be either every time: that is more than any clock can do. Nor is
// being slow: whoever could do something may always be the last to do it.
//
// The search is breadth first, so that what it finds is found on a shortest way,
// and told as a story. See docs/model.md.
package model
