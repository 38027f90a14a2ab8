package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"bench/check"
	"bench/shoppers"
)

var (
	goodLoad  = shoppers.Counts{Requests: leastRequests, Acknowledged: 9000}
	goodCross = []crossed{{To: "extracted", AckGapMS: 412.5, MaxWriteMS: 480.1, At: time.Date(2026, time.March, 4, 5, 6, 7, 0, time.UTC)}}
)

func TestGoodReport(t *testing.T) {
	t.Parallel()
	r := newReport(goodLoad, check.Findings{}, 21_000.4, goodCross)
	if r.wrong() != 0 {
		t.Errorf("%+v", r.figures())
	}
	path := filepath.Join(t.TempDir(), "report.json")
	if err := r.write(path); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"requests": 20000.0, "failed_requests": 0.0, "acknowledged_writes": 9000.0, "lost_writes": 0.0, "duplicated_writes": 0.0,
		"stale_reads": 0.0, "forked_rows": 0.0, "stock_drift": 0.0, "unpaired_payments": 0.0, "backfill_rows_per_s": 21000.0,
		"switches": []any{map[string]any{"to": "extracted", "ack_gap_ms": 412.5, "max_write_ms": 480.1, "at": "2026-03-04T05:06:07Z"}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("report is %s", text)
	}
}

// One violation of any kind makes the run a failure.
func TestEveryViolationCounts(t *testing.T) {
	t.Parallel()
	few, failed, stale, silent := goodLoad, goodLoad, goodLoad, goodLoad
	few.Requests--
	failed.Failed = 1
	stale.Stale = 1
	silent.Acknowledged = 0
	for name, r := range map[string]report{
		"requests":            newReport(few, check.Findings{}, 1, goodCross),
		"failed requests":     newReport(failed, check.Findings{}, 1, goodCross),
		"stale reads":         newReport(stale, check.Findings{}, 1, goodCross),
		"acknowledged writes": newReport(silent, check.Findings{}, 1, goodCross),
		"lost writes":         newReport(goodLoad, check.Findings{LostWrites: 1}, 1, goodCross),
		"duplicated writes":   newReport(goodLoad, check.Findings{DuplicatedWrites: 1}, 1, goodCross),
		"forked rows":         newReport(goodLoad, check.Findings{ForkedRows: 1}, 1, goodCross),
		"stock drift":         newReport(goodLoad, check.Findings{StockDrift: 1}, 1, goodCross),
		"unpaired payments":   newReport(goodLoad, check.Findings{UnpairedPayments: 1}, 1, goodCross),
	} {
		var wrong []string
		for _, f := range r.figures() {
			if f.wrong {
				wrong = append(wrong, f.name)
			}
		}
		if !slices.Equal(wrong, []string{name}) || r.wrong() != 1 {
			t.Errorf("%s: wrong are %q", name, wrong)
		}
	}
}

func TestPlainNarration(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	n := &narrator{out: &out}
	n.step("backfill")
	for done := range int64(101) {
		n.progress(done, 100, "rows")
	}
	n.endProgress()
	n.progress(50, 100, "again")
	n.done(1200*time.Millisecond, "%s rows", count(1234567))
	text := out.String()
	if strings.ContainsAny(text, "\x1b\r") {
		t.Errorf("escape sequences where there is no terminal: %q", text)
	}
	if got := strings.Count(text, "%  rows"); got != 10 {
		t.Errorf("%d lines of progress in\n%s", got, text)
	}
	if !strings.Contains(text, "50%  again") || !strings.Contains(text, "1,234,567 rows  1.2 s") {
		t.Errorf("narration is\n%s", text)
	}
}

func TestBarOnATerminal(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	n := &narrator{out: &out, terminal: true}
	n.progress(1, 2, "half")
	n.output("from a command")
	n.progress(200, 100, "more than all")
	n.endProgress()
	parts := strings.Split(out.String(), "\r\x1b[K")
	if len(parts) != 3 || !strings.Contains(parts[0], " 50%  half") || !strings.HasSuffix(parts[1], "100%  more than all") || parts[2] != "" {
		t.Errorf("terminal shows %q", parts)
	}
}

func TestCount(t *testing.T) {
	t.Parallel()
	for number, want := range map[int]string{0: "0", 999: "999", 1000: "1,000", -1000: "-1,000", -100: "-100", 1234567: "1,234,567"} {
		if got := count(number); got != want {
			t.Errorf("count(%d) = %s", number, got)
		}
	}
}

func TestFlags(t *testing.T) {
	t.Parallel()
	o, err := parse(nil)
	if err != nil || o.report != filepath.Join(".demo", "report.json") || o.writes < leastWriteRate || o.customers != 20_000 || o.products != 5_000 || o.orders != 200_000 {
		t.Errorf("%+v, %v", o, err)
	}
	for _, args := range [][]string{{"--load"}, {"stray"}, {"--customers", "10"}, {"--products", "0"}, {"--nonsense"}} {
		if _, err := parse(args); err == nil {
			t.Errorf("%q was accepted", args)
		}
	}
}
