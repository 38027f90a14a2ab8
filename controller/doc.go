// Package controller brings every capability from where it is to where its
// document wants it: observe, decide, act.
//
// It owns the effective state that proxies route by, the plan of a switch and
// its recovery, and when the data mover runs. It does not move data, serve
// requests or say anything to a database itself: movers, gates, stores and
// proxies are reached through interfaces declared here. One controller is active
// at a time; its caller sees to that.
//
// Controller knows all capabilities; a Reconciler looks after one; an attempt is
// one walk through capability.SwitchPlan. Decisions are the pure functions in
// decide.go.
package controller
