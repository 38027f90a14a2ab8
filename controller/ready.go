package controller

import (
	"fmt"
	"math"
	"strings"
	"time"

	"strangler/capability"
)

// Bounds within which a switch may begin. The lag decides how long the drain
// takes, and so the gap; the keys, how long the comparison in the gap.
const (
	lagToSwitch  = time.Second
	keysToSwitch = 2000
)

// Ready says whether the owner could be switched now by what is known without
// asking anybody: the preflight of a switch asks further.
func Ready(o Observation, unverified int, now time.Time) capability.Readiness {
	from := o.Effective.Owner
	r := capability.Readiness{To: from.Other()}
	refuse := func(format string, args ...any) { r.Reasons = append(r.Reasons, fmt.Sprintf(format, args...)) }
	if o.Document.Data == nil {
		r.Summary = "only traffic moves: there is no data to switch"
		return r
	}
	if !o.Effective.Retired.IsZero() {
		r.Reasons = []string{"retired since " + o.Effective.Retired.Format(time.DateTime) + ": there is no way back"}
		r.Summary = r.Reasons[0]
		return r
	}
	if o.Data.Phase == capability.PhaseNone && o.Gates == nil {
		r.Reasons = []string{"the move has not begun; begin it with: strangler data start " + o.Document.Name}
		r.Summary = r.Reasons[0]
		return r
	}
	if o.Effective.Phase != capability.Steady {
		refuse("a switch is running")
	}
	if o.Gates == nil {
		refuse("the gates cannot be read")
	} else if v := capability.Decide(o.Gates[0], o.Gates[1]); v.Action != capability.ActionNone {
		refuse("%s", v.Why)
	}
	switch o.Data.Phase {
	case capability.PhaseFollowing:
	case capability.PhaseWaiting:
		refuse("the data waits: %s", o.Data.Error)
	default:
		refuse("the data is not on both sides (%s); see: strangler data status %s", o.Data.Phase, o.Document.Name)
	}
	var lag capability.StreamStatus
	for _, s := range o.Data.Streams {
		if !s.Live {
			refuse("the stream from %s is down: %s", s.From, s.Error)
		}
		if s.From == from {
			lag = s
		}
	}
	if lag.Lag > lagToSwitch {
		refuse("the stream from %s lags by %s, more than %s", from, lag.Lag.Round(time.Millisecond), lagToSwitch)
	}
	verified := "never verified"
	switch v := o.Data.Verify; {
	case v == nil || v.FinishedAt.IsZero():
		r.Verify = true
	case v.Count > 0 || v.Error != "":
		refuse("the last verification failed (%d rows differ) %s; run: strangler data verify %s", v.Count, v.Error, o.Document.Name)
	default:
		verified = fmt.Sprintf("last verify %s ago", now.Sub(v.FinishedAt).Round(time.Second))
	}
	if unverified == math.MaxInt {
		r.Verify = true
	} else if unverified > keysToSwitch {
		refuse("%d rows were written and not compared since, more than %d", unverified, keysToSwitch)
	}
	r.Ready = len(r.Reasons) == 0
	r.Gap = o.Effective.Waited
	gap := "gap not measured yet (--rehearse does)"
	if r.Gap > 0 {
		gap = fmt.Sprintf("gap about %s, as the last time", rounded(r.Gap))
	}
	word := "cutover"
	if r.To == capability.Legacy {
		word = "rollback"
	}
	switch {
	case r.Ready && r.Verify:
		r.Summary = fmt.Sprintf("%s would verify every row first, and then lose 0 rows; %s, lag %d bytes / %s", word, gap, lag.LagBytes, lag.Lag.Round(time.Millisecond))
	case r.Ready:
		r.Summary = fmt.Sprintf("%s now loses 0 rows; %s, lag %d bytes / %s, %s, %d rows to compare", word, gap, lag.LagBytes, lag.Lag.Round(time.Millisecond), verified, unverified)
	default:
		r.Summary = word + " would be refused: " + strings.Join(r.Reasons, "; ")
	}
	return r
}

// rounded is a duration to two digits or so.
func rounded(d time.Duration) time.Duration {
	if d < 100*time.Millisecond {
		return d.Round(time.Millisecond)
	}
	return d.Round(10 * time.Millisecond)
}
