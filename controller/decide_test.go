package controller

import (
	"math"
	"strings"
	"testing"
	"time"

	"strangler/capability"
)

var (
	one = capability.Identity{System: "1", Timeline: 1}
	two = capability.Identity{System: "2", Timeline: 1}
)

func pair(legacy capability.GateState, l uint64, extracted capability.GateState, e uint64) *[2]capability.Gate {
	return &[2]capability.Gate{
		{State: legacy, Epoch: l, Self: one, Actual: one, Peer: two},
		{State: extracted, Epoch: e, Self: two, Actual: two, Peer: one},
	}
}

// following is a capability at rest on legacy, with both streams running.
func following() Observation {
	return Observation{
		Document:  capability.Document{Name: "orders", Revision: "a", Data: &capability.Data{}, Traffic: capability.Traffic{Owner: capability.Legacy}},
		Effective: capability.Effective{Capability: "orders", Revision: 7, Epoch: 1, Owner: capability.Legacy, Phase: capability.Steady, HasData: true, Shared: true},
		Data: capability.DataStatus{Phase: capability.PhaseFollowing, Streams: []capability.StreamStatus{
			{From: capability.Legacy, Live: true}, {From: capability.Extracted, Live: true}},
			Verify: &capability.VerifyStatus{FinishedAt: time.Unix(1, 0)}},
		Gates: pair(capability.Open, 1, capability.Sealed, 0),
	}
}

func TestDecideAtRestDoesNothing(t *testing.T) {
	t.Parallel()
	if d := Decide(following()); d != (Decision{}) {
		t.Errorf("%+v", d)
	}
}

func TestDecideWeights(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change  func(o *Observation)
		weight  capability.Weight
		refused string
	}{
		"current data":     {func(*Observation) {}, 1000, ""},
		"lag":              {func(o *Observation) { o.Data.Streams[0].Lag = 6 * time.Second }, 0, "lags by 6s"},
		"lag, but in use":  {func(o *Observation) { o.Data.Streams[0].Lag = 6 * time.Second; o.Effective.Weight = 500 }, 1000, ""},
		"long lag, in use": {func(o *Observation) { o.Data.Streams[0].Lag = time.Minute; o.Effective.Weight = 500 }, 0, "lags by 1m0s"},
		"stream down":      {func(o *Observation) { o.Data.Streams[0].Live = false }, 0, "is down"},
		"backfill":         {func(o *Observation) { o.Data.Phase = capability.PhaseBackfill }, 0, "not on both sides"},
		"no data at all": {func(o *Observation) {
			o.Document.Data = nil
			o.Gates = nil
			o.Effective.HasData, o.Effective.Epoch = false, 0
			o.Data = capability.DataStatus{}
		}, 1000, ""},
		"mapping has moved": {func(o *Observation) { o.Refuse = "tables changed" }, 1000, "tables changed"},
	} {
		o := following()
		o.Document.Traffic.Weight = 1000
		c.change(&o)
		d := Decide(o)
		if d.Publish == nil || d.Publish.Weight != c.weight || d.Publish.Revision != 8 || !strings.Contains(d.Publish.Refused, c.refused) || (c.refused == "") != (d.Publish.Refused == "") {
			t.Errorf("%s: %+v", name, d.Publish)
		}
	}
}

// TestDecideSharesReadsOnlyOfCurrentData: what stands in for the owner, and what
// testers see, is never older than a weight would allow.
func TestDecideSharesReadsOnlyOfCurrentData(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(o *Observation)
		shared bool
	}{
		"current":     {func(o *Observation) { o.Effective.Shared = false }, true},
		"lag":         {func(o *Observation) { o.Effective.Shared = false; o.Data.Streams[0].Lag = 6 * time.Second }, false},
		"lag, in use": {func(o *Observation) { o.Data.Streams[0].Lag = 6 * time.Second }, true},
		"long lag":    {func(o *Observation) { o.Data.Streams[0].Lag = time.Minute }, false},
		"down":        {func(o *Observation) { o.Data.Streams[0].Live = false }, false},
		"backfill":    {func(o *Observation) { o.Data.Phase = capability.PhaseBackfill }, false},
		"restored":    {func(o *Observation) { o.Gates[0].Actual.Timeline++ }, false},
		"no data":     {func(o *Observation) { o.Document.Data, o.Gates, o.Effective.Epoch = nil, nil, 0 }, false},
	} {
		o := following()
		c.change(&o)
		got := o.Effective.Shared
		if d := Decide(o); d.Publish != nil {
			got = d.Publish.Shared
		}
		if got != c.shared {
			t.Errorf("%s: shared is %v", name, got)
		}
	}
}

func TestDecideTriesAnOwnerOncePerDocument(t *testing.T) {
	t.Parallel()
	o := following()
	o.Document.Traffic.Owner = capability.Extracted
	if d := Decide(o); d.Switch != capability.Extracted {
		t.Fatalf("a new document: %+v", d)
	}
	o.Effective.Attempt = &capability.Attempt{To: capability.Extracted, Document: "a", Outcome: capability.Undone, Reason: "locks"}
	d := Decide(o)
	if d.Switch != "" || d.Publish == nil || !strings.Contains(d.Publish.Refused, "locks") {
		t.Fatalf("a document that was tried: %+v", d)
	}
	o.Document.Revision = "b"
	if d := Decide(o); d.Switch != capability.Extracted {
		t.Fatalf("the next document: %+v", d)
	}
}

// TestDecideFollowsTheGates: what a controller finds after a crash at any point
// of a switch.
func TestDecideFollowsTheGates(t *testing.T) {
	t.Parallel()
	running := &capability.Attempt{To: capability.Extracted, Document: "a", Outcome: capability.Running}
	for name, c := range map[string]struct {
		gates   *[2]capability.Gate
		action  capability.Action
		owner   capability.Side
		outcome capability.Outcome
		epoch   uint64
	}{
		"held, not closed":     {pair(capability.Open, 1, capability.Sealed, 0), "", capability.Legacy, capability.Undone, 1},
		"closed":               {pair(capability.Closing, 2, capability.Sealed, 0), capability.ActionUndo, "", "", 0},
		"sealed":               {pair(capability.Sealed, 3, capability.Sealed, 0), capability.ActionFinish, "", "", 0},
		"opened, not publish":  {pair(capability.Sealed, 3, capability.Open, 4), "", capability.Extracted, capability.Done, 4},
		"reopened by a writer": {pair(capability.Open, 3, capability.Sealed, 0), "", capability.Legacy, capability.Undone, 3},
		"restored":             {pair(capability.Open, 1, capability.Open, 4), capability.ActionSeal, "", "", 0},
	} {
		o := following()
		o.Document.Traffic.Owner = capability.Extracted
		o.Effective.Phase, o.Effective.Attempt, o.Gates = capability.Switching, running, c.gates
		d := Decide(o)
		if c.action != "" {
			if d.Verdict == nil || d.Verdict.Action != c.action || d.Publish != nil {
				t.Errorf("%s: %+v", name, d)
			}
			continue
		}
		if p := d.Publish; p == nil || p.Owner != c.owner || p.Attempt.Outcome != c.outcome || p.Epoch != c.epoch || p.Phase != capability.Steady {
			t.Errorf("%s: %+v", name, d.Publish)
		}
	}
}

// TestDecideWaitsForUnreadableGates: in the middle of a switch nothing is
// released on a guess.
func TestDecideWaitsForUnreadableGates(t *testing.T) {
	t.Parallel()
	o := following()
	o.Effective.Phase, o.Gates = capability.Switching, nil
	if d := Decide(o); d != (Decision{}) {
		t.Errorf("%+v", d)
	}
}

func TestDecideStopsOnAStrangeDatabase(t *testing.T) {
	t.Parallel()
	o := following()
	o.Gates[0].Actual.Timeline++
	d := Decide(o)
	if d.Publish == nil || !strings.Contains(d.Publish.Refused, "needs verify") || d.Publish.Owner != capability.Legacy {
		t.Errorf("%+v", d.Publish)
	}
	o.Effective = *d.Publish
	if d := Decide(o); d != (Decision{}) {
		t.Errorf("it is published again and again: %+v", d)
	}
}

// TestDecideReleasesWritesOfAStrangeDatabase: a database that fails over in the
// middle of a switch is for a person to look at, but its writes need not wait until
// somebody does. What a restore has brought back gets none.
func TestDecideReleasesWritesOfAStrangeDatabase(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		gates *[2]capability.Gate
		owner capability.Side // empty: they wait
	}{
		"held":                   {pair(capability.Open, 1, capability.Sealed, 0), capability.Legacy},
		"closed":                 {pair(capability.Closing, 2, capability.Sealed, 0), capability.Legacy},
		"opened":                 {pair(capability.Sealed, 3, capability.Open, 4), capability.Extracted},
		"nobody owns":            {pair(capability.Sealed, 3, capability.Sealed, 0), ""},
		"restored to before":     {pair(capability.Open, 1, capability.Sealed, 6), ""},
		"restored to the middle": {pair(capability.Sealed, 9, capability.Closing, 5), ""},
		"restored, and both own": {pair(capability.Open, 1, capability.Open, 4), ""},
	} {
		o := following()
		o.Gates = c.gates
		o.Gates[0].Actual.Timeline++
		o.Effective.Phase, o.Effective.Attempt = capability.Switching, &capability.Attempt{To: capability.Extracted, Document: "a", Outcome: capability.Running}
		p := Decide(o).Publish
		if p == nil || !strings.Contains(p.Refused, "needs verify") || p.Shared {
			t.Errorf("%s: %+v", name, p)
			continue
		}
		if c.owner == "" {
			if p.Phase != capability.Switching || p.Owner != capability.Legacy {
				t.Errorf("%s: writes are released to %s", name, p.Owner)
			}
		} else if p.Phase != capability.Steady || p.Owner != c.owner || p.Attempt.Outcome == capability.Running {
			t.Errorf("%s: %+v", name, p)
		}
		o.Effective = *p
		if d := Decide(o); d != (Decision{}) {
			t.Errorf("%s: it is published again and again: %+v", name, d)
		}
	}
}

// TestDecideTakesReadsHomeFromAStrangeDatabase: that a person has to look is no
// reason to show older and older data meanwhile, or to raise a weight.
func TestDecideTakesReadsHomeFromAStrangeDatabase(t *testing.T) {
	t.Parallel()
	o := following()
	o.Gates[1].Actual.Timeline++
	o.Effective.Weight, o.Document.Traffic.Weight = 5000, 7000
	if p := Decide(o).Publish; p == nil || p.Weight != 5000 {
		t.Errorf("current data: %+v", p)
	}
	o.Data.Streams[0].Lag = time.Minute
	if p := Decide(o).Publish; p == nil || p.Weight != 0 {
		t.Errorf("old data: %+v", p)
	}
}

func TestReadyNamesEveryReason(t *testing.T) {
	t.Parallel()
	now := time.Unix(61, 0)
	o := following()
	waiting := o
	waiting.Data.Phase, waiting.Data.Error, waiting.Data.Streams = capability.PhaseWaiting, "table orders has got column note", nil
	if r := Ready(waiting, 0, now); r.Ready || !strings.Contains(r.Summary, "the data waits: table orders has got column note") {
		t.Errorf("%+v", r)
	}
	if r := Ready(o, 0, now); !r.Ready || !strings.Contains(r.Summary, "last verify 1m0s ago") {
		t.Errorf("%+v", r)
	}
	if r := Ready(o, 0, now); r.Gap != 0 || !strings.Contains(r.Summary, "cutover now loses 0 rows; gap not measured yet (--rehearse does), lag 0 bytes / 0s") {
		t.Errorf("%+v", r)
	}
	o.Effective.Waited = 123456 * time.Microsecond
	if r := Ready(o, 0, now); r.Gap != o.Effective.Waited || !strings.Contains(r.Summary, "gap about 120ms, as the last time") {
		t.Errorf("%+v", r)
	}
	o.Data.Verify = nil
	if r := Ready(o, 0, now); !r.Ready || !r.Verify || !strings.Contains(r.Summary, "verify every row first") {
		t.Errorf("never verified: %+v", r)
	}
	o.Data.Verify = &capability.VerifyStatus{FinishedAt: time.Unix(1, 0)}
	if r := Ready(o, math.MaxInt, now); !r.Ready || !r.Verify {
		t.Errorf("nobody knows what was written since: %+v", r)
	}
	o.Data.Verify.Count = 3
	o.Data.Streams[1].Live = false
	o.Data.Streams[0].Lag = 2 * time.Second
	r := Ready(o, 2001, now)
	all := strings.Join(r.Reasons, "\n")
	for _, want := range []string{"stream from extracted is down", "lags by 2s", "2001 rows", "3 rows differ"} {
		if r.Ready || !strings.Contains(all, want) {
			t.Errorf("%q is not among %v", want, r.Reasons)
		}
	}
}
