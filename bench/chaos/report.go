package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

// report replaces the results on a page: what stands between two lines that name the target of make which makes them.
func report(file, target, text string) error {
	begin, end := "<!-- results of make "+target+" -->", "<!-- end of results -->"
	page, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	before, rest, is := strings.Cut(string(page), begin)
	_, after, ends := strings.Cut(rest, end)
	if !is || !ends {
		return fmt.Errorf("write the report: %s has not the lines %q and %q", file, begin, end)
	}
	if err := os.WriteFile(file, []byte(before+begin+"\n\n"+text+"\n"+end+after), 0o644); err != nil { //nolint:gosec // a page of the documentation
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}

// table has a row for each moment, and a column for each target with a word for each fault.
func table(results []result, took time.Duration, account string) string {
	var b strings.Builder
	bad := 0
	cells := map[[3]string]result{}
	for _, r := range results {
		cells[[3]string{r.Moment, r.Target, r.Fault}] = r
		if len(r.Problems) > 0 {
			bad++
		}
	}
	fmt.Fprintf(&b, "%d cells in %s on %s: %d with problems. %s.\n\n", len(results), took.Round(time.Minute), time.Now().UTC().Format(time.DateOnly), bad, strings.ToUpper(account[:1])+account[1:])
	fmt.Fprintf(&b, "| moment | %s |\n|---|%s\n", strings.Join(targets, " | "), strings.Repeat("---|", len(targets)))
	for _, m := range moments() {
		fmt.Fprintf(&b, "| %s |", m)
		for _, t := range targets {
			var words []string
			for _, f := range faultsOf(t) {
				r, is := cells[[3]string{m, t, f}]
				switch {
				case !is:
					words = append(words, "–")
				case len(r.Problems) > 0:
					words = append(words, "**✗ "+r.Outcome+"**")
				default:
					words = append(words, fmt.Sprintf("%s %.1f", r.Outcome, r.Silence.Seconds()))
				}
			}
			fmt.Fprintf(&b, " %s |", strings.Join(words, " · "))
		}
		b.WriteString("\n")
	}
	for _, r := range results {
		if !slices.Contains(faultsOf(r.Target), r.Fault) {
			fmt.Fprintf(&b, "\n%s: %s, longest silence %.1f s, %d problems.\n", r.cell, r.Outcome, r.Silence.Seconds(), len(r.Problems))
		}
	}
	return b.String()
}
