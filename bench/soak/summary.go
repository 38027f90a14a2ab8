package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"
)

// summary is the account of a run.
type summary struct {
	Seed      uint64           `json:"seed"`
	H2C       bool             `json:"h2c"`
	Took      time.Duration    `json:"took_ns"`
	Requests  int64            `json:"requests"` // without those of the matrix
	Reloads   int64            `json:"reloads"`
	Changes   int64            `json:"endpoint_changes"`
	Faults    int64            `json:"faults"` // rounds of the matrix's first axis
	Effect    time.Duration    `json:"longest_effect_ns"`
	Unwanted  int64            `json:"unexpected"`
	Findings  []finding        `json:"findings"` // the first of them
	Problems  []string         `json:"problems"` // of the run as a whole
	First     reading          `json:"at_first"`
	Last      reading          `json:"at_the_end"`
	Kinds     map[string]tally `json:"kinds"`
	judgeHeap bool
}

func (s *soak) summarise() *summary {
	r := &summary{
		Seed: s.seed, H2C: s.h2c, Took: s.took, Requests: s.account.done.Load(), Reloads: s.changes.reloads.Load(), Changes: s.changes.endpoints.Load(),
		Faults: s.matrix.done.Load(), Effect: time.Duration(s.changes.longest.Load()), Unwanted: s.account.wrong.Load(), Findings: s.account.first(),
		First: s.first, Last: s.last, Kinds: s.account.tallies(), judgeHeap: s.memory,
	}
	r.judge(s.options)
	return r
}

// judge holds the figures against what was asked for.
func (r *summary) judge(o options) {
	for _, f := range []struct {
		name      string
		got, want int64
	}{{"requests", r.Requests, int64(o.requests)}, {"reloads", r.Reloads, int64(o.reloads)}, {"endpoint changes", r.Changes, int64(o.changes)}} {
		if f.got < f.want {
			r.Problems = append(r.Problems, fmt.Sprintf("%d %s of %d", f.got, f.name, f.want))
		}
	}
	r.Problems = append(r.Problems, r.Last.leaks(r.First)...)
	if r.judgeHeap {
		r.Problems = append(r.Problems, r.Last.grown(r.First)...)
	}
}

// wrong is how many things are: 0 makes the run a success.
func (r *summary) wrong() int { return int(r.Unwanted) + len(r.Problems) }

func (r *summary) print(out io.Writer) {
	fmt.Fprintln(out)
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "kind\trequests\twrong\tmean\tlongest\t")
	for _, kind := range sorted(r.Kinds) {
		t := r.Kinds[kind]
		fmt.Fprintf(table, "%s\t%d\t%d\t%.1f ms\t%.1f ms\t\n", kind, t.Requests, t.Wrong, ms(t.total)/float64(max(t.Requests, 1)), ms(t.Longest))
	}
	fmt.Fprintln(table, "\t\t\t\t\t")
	fmt.Fprintln(table, "what is held\tat first\tat the end\t\t\t")
	fmt.Fprintf(table, "goroutines\t%d\t%d\t\t\t\n", r.First.Goroutines, r.Last.Goroutines)
	fmt.Fprintf(table, "heap\t%.2f MiB\t%.2f MiB\t\t\t\n", mib(r.First.Heap), mib(r.Last.Heap))
	fmt.Fprintf(table, "descriptors\t%d\t%d\t\t\t\n", r.First.Descriptors, r.Last.Descriptors)
	_ = table.Flush() // to a terminal or a buffer
	judged := ""
	if !r.judgeHeap {
		judged = "; not judged"
	}
	fmt.Fprintf(out, "heap: %s%s\n", r.Last.growth(r.First), judged)
	fmt.Fprintf(out, "\n%d requests, %d reloads, %d endpoint changes, %d faults in %.0f s; a change took effect within %.2f s; seed %d\n",
		r.Requests, r.Reloads, r.Changes, r.Faults, r.Took.Seconds(), r.Effect.Seconds(), r.Seed)
	for _, f := range r.Findings {
		fmt.Fprintln(out, f)
	}
	if more := int(r.Unwanted) - len(r.Findings); more > 0 {
		fmt.Fprintf(out, "and %d more\n", more)
	}
	for _, p := range r.Problems {
		fmt.Fprintln(out, "problem:", p)
	}
	if r.wrong() == 0 {
		fmt.Fprintln(out, "nothing unexpected, nothing left behind")
	}
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func (r *summary) write(path string) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("write the summary: %w", err)
	}
	if err := os.WriteFile(path, append(text, '\n'), 0o644); err != nil {
		return fmt.Errorf("write the summary: %w", err)
	}
	return nil
}
