package consul

import "time"

// bounds are the times of the watches.
type bounds struct {
	// wait is that of one blocking query. A server that came back without its data has
	// a lower index, and lets a question with the old one wait that long.
	wait     time.Duration
	recheck  time.Duration // of one, while an answer is in doubt
	grace    time.Duration // for Consul's answer beyond the wait
	stale    time.Duration // oldest answer of a follower that is taken
	probe    time.Duration // of one TCP connect
	patience time.Duration // until a loss is believed whatever speaks against it
	backoff  time.Duration // first pause after an error; doubles
	longest  time.Duration // pause after errors
	answer   time.Duration // for the answer to a question that does not wait
	lag      time.Duration // for the beginning of an answer, after another has come
}

func defaultBounds() bounds {
	return bounds{
		wait: time.Minute, recheck: 2 * time.Second, grace: 15 * time.Second, stale: 10 * time.Second,
		probe: time.Second, patience: 30 * time.Second, backoff: 250 * time.Millisecond, longest: 15 * time.Second,
		answer: 3 * time.Second, lag: 500 * time.Millisecond,
	}
}
