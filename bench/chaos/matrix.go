package main

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"time"
)

// steps are those of a switch, as the documentation has them, without announce, which does nothing where nobody is to be
// told. What is before the first and after the last are moments as well; what is behind one step is before the next.
var steps = []string{"preflight", "border", "yield", "hold", "close", "drain", "verify", "sequences", "seal", "open", "publish", "tidy"}

// moments of a switch at which it is disturbed.
func moments() []string {
	var list []string
	for _, s := range steps {
		list = append(list, "before "+s)
	}
	return append(list, "after "+steps[len(steps)-1])
}

// targets of faults. Source is the database that owns when the switch begins.
var targets = []string{"controller", "proxy 1", "proxy 2", "source", "target", "consul leader", "consul"}

// faultsOf are those that a target suffers.
func faultsOf(target string) []string {
	switch target {
	case "proxy 1", "proxy 2":
		return []string{"killed", "stopped", "cut off", "slow"}
	case "consul leader":
		return []string{"killed", "stopped", "cut off", "split off"}
	case "consul": // as a whole
		return []string{"cut off"}
	default:
		return []string{"killed", "stopped", "cut off"}
	}
}

// late are the moments at which a proxy that hears and answers late makes a difference: it has to take over a state in time
// behind each of them.
var late = []string{"before hold", "before close", "before publish"}

// cell is one disturbed switch.
type cell struct {
	Moment, Target, Fault string
	To                    string // the side that is to own
}

func (c cell) String() string {
	return fmt.Sprintf("%s, %s %s, to %s", c.Moment, c.Target, c.Fault, c.To)
}

// longWriter is a fault that is one of its own: see first.
const longWriter = "dead, and a transaction of a minute writes first"

// choose returns the cells to run, in an order in which switches go there and back, and sets aside those that want long
// leases.
func (o *options) choose() ([]cell, error) {
	pattern, err := regexp.Compile(o.only)
	if err != nil {
		return nil, fmt.Errorf("--only: %w", err)
	}
	r := rand.New(rand.NewPCG(o.seed, 1))
	var all []cell
	for i, moment := range moments() {
		for j, target := range targets {
			for k, fault := range faultsOf(target) {
				if fault == "slow" && !slices.Contains(late, moment) {
					continue
				}
				// Half of them on the way there, half on the way back, changing with every run.
				to := []string{"extracted", "legacy"}[(uint64(i+j+k)+o.seed)%2]
				if c := (cell{moment, target, fault, to}); pattern.MatchString(c.String()) {
					all = append(all, c)
				}
			}
		}
	}
	for _, c := range []cell{{"before drain", "all controllers", longWriter, "extracted"}} {
		if o.sample == 0 && pattern.MatchString(c.String()) {
			all = append(all, c)
		}
	}
	for _, c := range []cell{{"before seal", "controller", "stopped", "extracted"}} {
		if o.sample == 0 && pattern.MatchString("default leases: "+c.String()) {
			o.slow = append(o.slow, c)
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("--only: no cell is called so; they are called such as %q", cell{moments()[0], targets[0], faultsOf(targets[0])[0], "extracted"})
	}
	if o.sample > 0 {
		r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		all = all[:min(o.sample, len(all))]
	}
	return alternately(all), nil
}

// alternately orders cells so that one begins where the other has ended, as far as there are enough of both kinds.
func alternately(all []cell) []cell {
	there := slices.DeleteFunc(slices.Clone(all), func(c cell) bool { return c.To != "extracted" })
	back := slices.DeleteFunc(slices.Clone(all), func(c cell) bool { return c.To == "extracted" })
	var list []cell
	for i := range max(len(there), len(back)) {
		if i < len(there) {
			list = append(list, there[i])
		}
		if i < len(back) {
			list = append(list, back[i])
		}
	}
	return list
}

// result is what came of a cell.
type result struct {
	cell
	// Outcome: done, by the switch that was disturbed; finished, by whoever came behind it; repeated, because it was
	// undone.
	Outcome  string
	Tries    int            // until the switch came to the moment
	Said     string         // by the command, where it failed
	Errors   map[string]int // that clients saw, by kind
	Silence  time.Duration  // longest time without an acknowledged write
	Took     time.Duration
	Problems []string
	lost     bool
}

func (r result) String() string {
	s := fmt.Sprintf("%-58s %-9s %4.1f s, longest silence %4.1f s", r.cell, r.Outcome, r.Took.Seconds(), r.Silence.Seconds())
	if r.Tries > 1 {
		s += fmt.Sprintf(", reached at try %d", r.Tries)
	}
	if len(r.Errors) > 0 {
		s += ", " + kinds(r.Errors)
	}
	for _, p := range r.Problems {
		s += "\n        ✗ " + strings.ReplaceAll(p, "\n", "\n          ")
	}
	return s
}
