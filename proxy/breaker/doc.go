// Package breaker decides whether a side is well enough to be asked.
//
// It wraps sony/gobreaker for what that leaves out: slow answers, an open time
// that backs off and says how much is left of it, trials that never report, an
// operator's hand, settings that change without forgetting, and callbacks outside
// of every lock. Its caller owns what a request is and whether one failed.
//
// Who decides what:
//
//   - While it is closed the window here counts, and decides when to trip.
//     gobreaker is not asked: admitting reads one word, reporting takes one lock,
//     neither allocates.
//   - From the trip until it has closed again gobreaker holds the state, in an
//     opening: when the open time is over, how many trials there are, that one
//     failure reopens and that enough successes close. What it announces is what
//     this package says; the time that is left is measured after gobreaker's own
//     reading of the clock, and so never ends before gobreaker's does.
//   - How long an opening lasts is decided here. gobreaker takes the open time
//     once, when it is made, so that every opening has a gobreaker of its own.
//   - The modes disabled and open are decided here alone; gobreaker has no part.
//
// Nothing runs in the background. An open time that is over, and a trial that has
// expired, take effect when the breaker is next asked for anything, with the time
// at which they were due.
package breaker
