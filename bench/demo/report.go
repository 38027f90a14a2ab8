package main

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"time"

	"bench/check"
	"bench/shoppers"
)

// report is the account of one run. The README of the bench says what the fields mean.
type report struct {
	Requests         int64     `json:"requests"`
	FailedRequests   int64     `json:"failed_requests"`
	Acknowledged     int64     `json:"acknowledged_writes"`
	LostWrites       int64     `json:"lost_writes"`
	DuplicatedWrites int64     `json:"duplicated_writes"`
	StaleReads       int64     `json:"stale_reads"`
	ForkedRows       int64     `json:"forked_rows"`
	StockDrift       int64     `json:"stock_drift"`
	UnpairedPayments int64     `json:"unpaired_payments"`
	BackfillRowsPerS float64   `json:"backfill_rows_per_s"`
	Switches         []crossed `json:"switches"`
}

// crossed is one switch of the owner under load.
type crossed struct {
	To         string    `json:"to"`
	AckGapMS   float64   `json:"ack_gap_ms"`
	MaxWriteMS float64   `json:"max_write_ms"`
	At         time.Time `json:"at"`
}

const (
	leastRequests  = 20_000
	leastWriteRate = 150 // per second, during every switch
)

func newReport(load shoppers.Counts, found check.Findings, rowsPerS float64, switches []crossed) report {
	return report{
		Requests: load.Requests, FailedRequests: load.Failed, Acknowledged: load.Acknowledged, StaleReads: load.Stale,
		LostWrites: found.LostWrites, DuplicatedWrites: found.DuplicatedWrites, ForkedRows: found.ForkedRows,
		StockDrift: found.StockDrift, UnpairedPayments: found.UnpairedPayments,
		BackfillRowsPerS: math.Round(rowsPerS), Switches: switches,
	}
}

// figure is one line of the table, with what it must be.
type figure struct {
	name  string
	value int64
	wrong bool
	must  string
}

func (r report) figures() []figure {
	zero := func(name string, value int64) figure { return figure{name, value, value != 0, "0"} }
	return []figure{
		{"requests", r.Requests, r.Requests < leastRequests, "≥ " + count(leastRequests)},
		zero("failed requests", r.FailedRequests),
		{"acknowledged writes", r.Acknowledged, r.Acknowledged == 0, "> 0"},
		zero("lost writes", r.LostWrites),
		zero("duplicated writes", r.DuplicatedWrites),
		zero("stale reads", r.StaleReads),
		zero("forked rows", r.ForkedRows),
		zero("stock drift", r.StockDrift),
		zero("unpaired payments", r.UnpairedPayments),
	}
}

// wrong is how many figures are not what they must be.
func (r report) wrong() (n int) {
	for _, f := range r.figures() {
		if f.wrong {
			n++
		}
	}
	return n
}

func (r report) tell(say *narrator) {
	for _, f := range r.figures() {
		mark := say.paint(green, "✓")
		if f.wrong {
			mark = say.paint(red, "✗ must be "+f.must)
		}
		say.say("%-22s %10s  %s", f.name, count(f.value), mark)
	}
	say.say("%-22s %10s", "backfill, rows per s", count(int64(r.BackfillRowsPerS)))
	for _, c := range r.Switches {
		say.say("%-22s %10s    longest time without an acknowledged write", "switch to "+c.To, fmt.Sprintf("%.0f ms", c.AckGapMS))
		say.say("%-22s %10s    slowest acknowledged write", "", fmt.Sprintf("%.0f ms", c.MaxWriteMS))
	}
}

func (r report) write(path string) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	if err := os.WriteFile(path, append(text, '\n'), 0o644); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}

// ms has a tenth of a millisecond: more would be noise.
func ms(d time.Duration) float64 { return math.Round(d.Seconds()*10_000) / 10 }
