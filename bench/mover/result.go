package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"text/tabwriter"
)

// report is every figure of a run. The README of the bench says what the fields mean.
type report struct {
	PostgreSQL   int      `json:"postgresql"`
	System       string   `json:"system"`
	Cores        int      `json:"cores"`
	Rounds       int      `json:"rounds"`
	Rows         int      `json:"rows"`
	Transactions int      `json:"pgbench_transactions"`
	Scale        int      `json:"pgbench_scale"`
	Seconds      int      `json:"pgbench_seconds"`
	Sections     []result `json:"sections"`
}

func (w *world) report() report {
	return report{
		PostgreSQL: w.source.Binaries().Version, System: runtime.GOOS + "/" + runtime.GOARCH, Cores: runtime.NumCPU(),
		Rounds: w.rounds, Rows: w.rows, Transactions: w.transactions, Scale: w.scale, Seconds: w.options.seconds,
	}
}

func (r report) write(path string) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	if err := os.WriteFile(path, append(text, '\n'), 0o644); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}

// result is what a section has come to.
type result struct {
	Key        string     `json:"key"`
	Title      string     `json:"title"`
	Unit       string     `json:"unit"`
	Bytes      string     `json:"bytes_of"`
	Wait       string     `json:"wait_is,omitempty"`
	Contenders []standing `json:"contenders"`
}

// standing is what a contender has come to.
type standing struct {
	Name    string   `json:"name"`
	Median  sample   `json:"median"`      // of each figure by itself
	Rate    float64  `json:"per_second"`  // median
	Ratio   float64  `json:"ratio"`       // of its rate to that of the first contender, in the same round; median
	Least   float64  `json:"ratio_least"` // of any round
	Most    float64  `json:"ratio_most"`  // of any round
	Cost    float64  `json:"cpu_ratio"`   // of the CPU that a unit takes, tool and both servers together, likewise; 0: not known
	Samples []sample `json:"samples"`     // one a round
}

func newResult(s section) result {
	r := result{Key: s.key, Title: s.title, Unit: s.unit, Bytes: s.bytes, Wait: s.wait}
	for _, c := range s.contenders {
		r.Contenders = append(r.Contenders, standing{Name: c.name})
	}
	return r
}

// conclude works out the medians. Everybody has had as many turns.
func (r *result) conclude() {
	first := r.Contenders[0].Samples
	for i := range r.Contenders {
		c := &r.Contenders[i]
		c.Median = sample{
			Seconds: middle(c.Samples, func(s sample) float64 { return s.Seconds }), Units: middle(c.Samples, func(s sample) int64 { return s.Units }),
			Bytes: middle(c.Samples, func(s sample) int64 { return s.Bytes }), Wait: middle(c.Samples, func(s sample) float64 { return s.Wait }),
			ToolCPU: middle(c.Samples, func(s sample) float64 { return s.ToolCPU }), SourceCPU: middle(c.Samples, func(s sample) float64 { return s.SourceCPU }),
			TargetCPU: middle(c.Samples, func(s sample) float64 { return s.TargetCPU }), RestRSS: middle(c.Samples, func(s sample) int64 { return s.RestRSS }),
			PeakRSS: middle(c.Samples, func(s sample) int64 { return s.PeakRSS }),
		}
		c.Rate = middle(c.Samples, sample.rate)
		ratios, costs := make([]float64, len(c.Samples)), make([]float64, len(c.Samples))
		for round, s := range c.Samples {
			ratios[round] = s.rate() / first[round].rate()
			if base := first[round].cost(); base > 0 && counted {
				costs[round] = s.cost() / base
			}
		}
		c.Ratio, c.Least, c.Most, c.Cost = median(ratios), slices.Min(ratios), slices.Max(ratios), median(costs)
	}
}

func middle[T int64 | float64](samples []sample, of func(sample) T) T {
	all := make([]T, len(samples))
	for i, s := range samples {
		all[i] = of(s)
	}
	return median(all)
}

// median sorts its argument.
func median[T int64 | float64](all []T) T {
	slices.Sort(all)
	half := len(all) / 2
	if len(all)%2 == 0 {
		return (all[half-1] + all[half]) / 2
	}
	return all[half]
}

// print writes the table. What was not measured, or cannot be, is a dash.
func (r result) print(out io.Writer) {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(table, "  %-28s\t%s/s\tratio\tleast\tmost\tCPU ratio\tseconds\tMB of %s\ttool CPU\tsource CPU\ttarget CPU\ttool RSS, MiB\t", "", r.Unit, r.Bytes)
	if r.Wait != "" {
		fmt.Fprintf(table, "s %s\t", r.Wait)
	}
	fmt.Fprintln(table)
	for _, c := range r.Contenders {
		m := c.Median
		fmt.Fprintf(table, "  %-28s\t%.0f\t%.2f\t%.2f\t%.2f\t%s\t%.2f\t%.1f\t%s\t%s\t%s\t%s\t", c.Name, c.Rate, c.Ratio, c.Least, c.Most, dash(c.Cost), m.Seconds, float64(m.Bytes)/1e6,
			dash(m.ToolCPU), dash(m.SourceCPU), dash(m.TargetCPU), memory(m))
		if r.Wait != "" {
			fmt.Fprintf(table, "%s\t", dash(m.Wait))
		}
		fmt.Fprintln(table)
	}
	_ = table.Flush() // to a terminal or a buffer
}

// dash writes a figure, or that there is none.
func dash(figure float64) string {
	if figure == 0 {
		return "–"
	}
	return fmt.Sprintf("%.2f", figure)
}

// memory is the peak, behind what was there before where that is known.
func memory(s sample) string {
	switch {
	case s.PeakRSS == 0:
		return "–"
	case s.RestRSS == 0:
		return fmt.Sprintf("%.0f", mib(s.PeakRSS))
	}
	return fmt.Sprintf("%.0f → %.0f", mib(s.RestRSS), mib(s.PeakRSS))
}

func mib(bytes int64) float64 { return float64(bytes) / (1 << 20) }
