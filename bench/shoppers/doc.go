// Package shoppers puts load on the shop the way people do: from outside, over HTTP, with a session cookie.
//
// The load is open loop: arrivals follow a schedule that does not wait for answers, and every latency is measured from
// the moment the schedule meant, so that a stall is seen by everybody who would have come during it. Nothing is ever
// sent twice. Each write carries an id (ref) that the load remembers, and each shopper reads its own writes back.
//
// The package owns what was sent and what was answered: its Record is the one witness that no part of the shop can
// influence. What is in the databases afterwards is for others to compare with it.
package shoppers
