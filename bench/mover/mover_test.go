package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"testbed"
)

func TestMain(m *testing.M) { testbed.Main(m) }

// Everything that is measured works with the strangler as it is, and each turn of it leaves a figure.
func TestSmallRun(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and measures a strangler; run without -short")
	}
	dir := t.TempDir()
	binary, file := filepath.Join(dir, "strangler"), filepath.Join(dir, "report.json")
	build := exec.Command("go", "build", "-o", binary, "./cmd/strangler")
	build.Dir = filepath.Join("..", "..")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build strangler: %v\n%s", err, out)
	}
	var out bytes.Buffer
	err := run(t.Context(), []string{"--quick", "--strangler", binary, "--json", file, "--rows", "3000", "--transactions", "160", "--seconds", "1"}, &out)
	t.Logf("%s", out.String())
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var r report
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	var measured []string
	for _, s := range r.Sections {
		measured = append(measured, s.Key)
		if len(s.Contenders) < 2 || s.Contenders[0].Ratio != 1 {
			t.Errorf("%s has nothing to compare: %+v", s.Key, s.Contenders)
		}
		for _, c := range s.Contenders {
			if len(c.Samples) != 1 || c.Rate <= 0 || c.Ratio <= 0 || c.Median.Units <= 0 || c.Median.Bytes <= 0 {
				t.Errorf("%s, %s: %+v", s.Key, c.Name, c)
			}
			if counted && strings.HasPrefix(c.Name, "strangler") && (c.Median.ToolCPU <= 0 || c.Median.PeakRSS < 1<<20) {
				t.Errorf("%s, %s has used nothing: %+v", s.Key, c.Name, c.Median)
			}
		}
		if !strings.Contains(out.String(), s.Title) {
			t.Errorf("%q was not printed", s.Title)
		}
	}
	if !slices.Equal(measured, keys) {
		t.Errorf("measured %v, want %v", measured, keys)
	}
}

// A ratio is of turns of the same round, so that a machine that slows down from round to round does not show in it.
func TestRatiosAreOfTheSameRound(t *testing.T) {
	t.Parallel()
	r := newResult(section{contenders: []contender{{name: "first"}, {name: "second"}}})
	for _, slow := range []float64{1, 2, 10} {
		r.Contenders[0].Samples = append(r.Contenders[0].Samples, sample{Units: 100, Seconds: slow, SourceCPU: 1})
		r.Contenders[1].Samples = append(r.Contenders[1].Samples, sample{Units: 100, Seconds: 4 * slow, PeakRSS: int64(slow), ToolCPU: 1, SourceCPU: 1, TargetCPU: 1})
	}
	r.Contenders[1].Samples[2].Seconds = 20
	r.conclude()
	first, second := r.Contenders[0], r.Contenders[1]
	if first.Ratio != 1 || first.Rate != 50 || first.Median.Seconds != 2 {
		t.Errorf("first is %+v", first)
	}
	if second.Ratio != 0.25 || second.Least != 0.25 || second.Most != 0.5 || second.Median.Seconds != 8 || second.Median.PeakRSS != 2 {
		t.Errorf("second is %+v", second)
	}
	if counted && (first.Cost != 1 || second.Cost != 3) {
		t.Errorf("a unit costs %v and %v times what it costs the first", first.Cost, second.Cost)
	}
	if got := median([]int64{8, 2, 4, 6}); got != 5 {
		t.Errorf("median of an even number of figures is %d", got)
	}
}

// The figures of a process that is known to work and to hold memory: this one.
func TestUsageOfAProcess(t *testing.T) {
	if !counted {
		t.Skip("this system does not tell what a running process uses")
	}
	pid := os.Getpid()
	before, err := processCPU(pid)
	if err != nil {
		t.Fatal(err)
	}
	if err := forgetPeak(pid); err != nil {
		t.Fatal(err)
	}
	rest, _, err := resident(pid)
	if err != nil {
		t.Fatal(err)
	}
	held := bytes.Repeat([]byte{1}, 64<<20)
	for deadline := time.Now().Add(20 * time.Second); ; {
		now, err := processCPU(pid)
		if err != nil {
			t.Fatal(err)
		}
		if now >= before+2*tick {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s of the processor at first, %s now", before, now)
		}
	}
	_, peak, err := resident(pid)
	if err != nil || peak < rest+int64(len(held))/2 {
		t.Errorf("the peak is %d with %d bytes more than %d, %v", peak, len(held), rest, err)
	}
}

func TestFlags(t *testing.T) {
	t.Parallel()
	o, err := parse([]string{"--quick", "--rows", "7", "--only", "wide,memory"})
	if err != nil || o.rows != 7 || o.rounds != 1 || !slices.Equal(o.only, []string{"wide", "memory"}) {
		t.Errorf("%+v, %v", o, err)
	}
	if o, err := parse(nil); err != nil || o.rounds != 5 || o.rows != 2_000_000 || !slices.Equal(o.only, keys) {
		t.Errorf("%+v, %v", o, err)
	}
	for _, args := range [][]string{{"stray"}, {"--rows", "0"}, {"--transactions", "7"}, {"--only", "nonsense"}, {"--only", "wide,"}} {
		if _, err := parse(args); err == nil {
			t.Errorf("%q was accepted", args)
		}
	}
}
