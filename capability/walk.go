package capability

// Walk is where a switch stands in SwitchPlan: the steps are taken in order, and
// from the first that fails before the commit point they are taken back, last
// first. The zero value stands before the first step. It knows nothing of how a
// step is taken; whoever takes it tells how it went.
type Walk struct {
	next uint8 // index in SwitchPlan of the next step; on the way back, of the step after it
	way  way
}

type way uint8

const (
	forth way = iota
	back
	left // with a commit point that has passed, or may have
)

// Next returns the step that is to be taken, or taken back; false: the walk is over.
func (w Walk) Next() (step Step, undo, ok bool) {
	switch {
	case w.way == forth && int(w.next) < len(SwitchPlan):
		return SwitchPlan[w.next], false, true
	case w.way == back && w.next > 0:
		return SwitchPlan[w.next-1], true, true
	}
	return Step{}, false, false
}

// Done is the walk behind the step that was taken. A step that could not be taken
// back is behind it as well: those before it must be taken back all the same.
func (w Walk) Done() Walk {
	switch w.way {
	case forth:
		w.next++
	case back:
		w.next--
		return w.skip()
	}
	return w
}

// Failed is the walk after a step that failed. The step is the first to be taken
// back, because it may have happened all the same. Behind the commit point, and
// where unknown says that nobody can tell whether it has passed, nothing is: the
// walk is over, and the gates tell how to go on.
func (w Walk) Failed(unknown bool) Walk {
	if w.Committed() || unknown {
		w.way = left
		return w
	}
	w.next++
	w.way = back
	return w.skip()
}

// Stopped is the walk of whoever wants no further step: what was done is taken back,
// last first. Behind the commit point nobody can stop.
func (w Walk) Stopped() Walk {
	if w.way != forth || w.Committed() {
		return w
	}
	w.way = back
	return w.skip()
}

// skip passes over steps that leave nothing to be taken back.
func (w Walk) skip() Walk {
	for w.next > 0 && SwitchPlan[w.next-1].Undo == "" {
		w.next--
	}
	return w
}

// Committed says that the commit point has passed: the walk goes on whatever its
// caller wants by now.
func (w Walk) Committed() bool {
	if w.way == back {
		return false
	}
	for _, s := range SwitchPlan[:w.next] {
		if s.Commit {
			return true
		}
	}
	return false
}

// Left says that the walk is over without an end: the switch is finished, or
// undone, by whoever reads the gates next.
func (w Walk) Left() bool { return w.way == left }
