// Package breaker decides whether a side is well enough to be asked.
//
// It wraps sony/gobreaker, which counts and holds the state, for what that leaves
// out: slow answers, an open time that backs off and says how much is left of it,
// trials that never report, an operator's hand, settings that change without
// forgetting, and callbacks outside of every lock. Its caller owns what a request
// is and whether one failed.
package breaker
