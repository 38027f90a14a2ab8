package main

import (
	"bytes"
	"context"
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

// built builds the strangler.
func built(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("builds and soaks a strangler; run without -short")
	}
	binary := filepath.Join(t.TempDir(), "strangler")
	build := exec.Command("go", "build", "-o", binary, "./cmd/strangler")
	build.Dir = filepath.Join("..", "..")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build strangler: %v\n%s", err, out)
	}
	return binary
}

// A small soak of the strangler as it is ends well, and leaves a summary that says so.
func TestSmallSoak(t *testing.T) {
	binary := built(t)
	dir := t.TempDir()
	var out bytes.Buffer
	err := run(t.Context(), []string{"--short", "--strangler", binary, "--dir", dir, "--json", filepath.Join(dir, "summary.json")}, &out)
	t.Logf("%s", out.String())
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "summary.json"))
	if err != nil || !bytes.Contains(text, []byte(`"requests": 3000`)) {
		t.Errorf("the summary is %.200s (%v)", text, err)
	}
}

// A strangler that dies under load is a finding at once, and not when the time is up.
func TestDeathIsNoticed(t *testing.T) {
	binary := built(t)
	o, err := parse([]string{"--short", "--strangler", binary, "--dir", t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	s, err := open(t.Context(), o, nil, &bytes.Buffer{})
	if err != nil {
		t.Fatal(err)
	}
	played := make(chan error, 1)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	go func() { played <- s.play(ctx) }()
	if err := eventually(ctx, s.proxy.process.Done(), func() error { return expect("a request is done:", true, s.account.done.Load() > 0) }); err != nil {
		t.Fatal(err)
	}
	if err := s.proxy.process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := <-played; err == nil || !strings.Contains(err.Error(), errEnded.Error()) {
		t.Errorf("play says %v", err)
	}
	if s.summarise().wrong() == 0 {
		t.Error("nothing is wrong")
	}
	_ = s.close() // which says that it was killed
}

func TestEveryViolationCounts(t *testing.T) {
	t.Parallel()
	o := options{requests: 100, reloads: 3, changes: 2}
	good := summary{Requests: 100, Reloads: 3, Changes: 2, judgeHeap: true,
		First: reading{Goroutines: 40, Heap: 20 << 20, Descriptors: 15}, Last: reading{Goroutines: 40 + spareGoroutines, Heap: 22 << 20, Descriptors: 15 + spareDescriptors}}
	small := good
	small.First.Heap, small.Last.Heap = 1<<20, 1<<20+heapFloor // a quarter more, and within the floor
	for _, r := range []summary{good, small} {
		if r.judge(o); r.wrong() != 0 {
			t.Errorf("wrong is %q", r.Problems)
		}
	}
	for _, c := range []struct {
		want  string
		spoil func(*summary)
	}{
		{"99 requests of 100", func(r *summary) { r.Requests = 99 }},
		{"2 reloads of 3", func(r *summary) { r.Reloads = 2 }},
		{"1 endpoint changes of 2", func(r *summary) { r.Changes = 1 }},
		{"47 goroutines", func(r *summary) { r.Last.Goroutines++ }},
		{"20 descriptors", func(r *summary) { r.Last.Descriptors++ }},
		{"heap of 22.00 MiB", func(r *summary) { r.Last.Heap++ }},
	} {
		r := good
		c.spoil(&r)
		if r.judge(o); len(r.Problems) != 1 || !strings.HasPrefix(r.Problems[0], c.want) {
			t.Errorf("%s: problems are %q", c.want, r.Problems)
		}
	}
	unwanted := good
	unwanted.Unwanted = 1
	if unwanted.judge(o); unwanted.wrong() != 1 {
		t.Error("an unexpected outcome does not count")
	}
}

// A growth that is within the floor alone is to be seen, not just let pass.
func TestTheGrowthOfTheHeapIsTold(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		first, last int64
		want        string
	}{
		{20 << 20, 21 << 20, "+5.0 %, bounded by 10 %, which is 10.0 % (2.00 MiB)"},
		{1 << 20, 1<<20 + 1<<18, "+25.0 %, bounded by the floor, which is 25.0 % (0.25 MiB)"},
		{2 << 20, 1 << 20, "-50.0 %, bounded by the floor, which is 12.5 % (0.25 MiB)"},
	} {
		r := summary{First: reading{Heap: c.first}, Last: reading{Heap: c.last}}
		var out strings.Builder
		if r.print(&out); !strings.Contains(out.String(), "heap: "+c.want+"; not judged\n") {
			t.Errorf("%d to %d: want %q in\n%s", c.first, c.last, c.want, out.String())
		}
		r.judgeHeap = true
		out.Reset()
		if r.print(&out); !strings.Contains(out.String(), "heap: "+c.want+"\n") {
			t.Errorf("judged: want %q in\n%s", c.want, out.String())
		}
	}
}

// The verdict on writes does not depend on what clients were told.
func TestASecondArrivalIsFound(t *testing.T) {
	t.Parallel()
	a := newAccount(10, func() string { return "resets" })
	for _, number := range []uint64{1, 2, 3, 2} {
		a.write(number, "plain-1")
	}
	found := a.first()
	if len(found) != 1 || found[0].Request != "t2" || found[0].Fault != "resets" || a.wrong.Load() != 1 {
		t.Errorf("found %v", found)
	}
}

// What the matrix wants follows from class, capability and fault; the cells that must never be mended are the writes.
func TestCells(t *testing.T) {
	t.Parallel()
	named := func(name string) fault {
		return faults[slices.IndexFunc(faults, func(f fault) bool { return f.name == name })]
	}
	get, search, put := shapes[0], shapes[1], shapes[3]
	for _, c := range []struct {
		trial    trial
		status   int
		arrivals arrivals
	}{
		{trial{fault: named("resets at once"), shape: get}, 502, arrivals{failing: 1}},
		{trial{fault: named("resets at once"), shape: get, falls: true}, 200, arrivals{failing: 2, legacy: 1}},
		{trial{fault: named("resets at once"), shape: search, falls: true}, 502, arrivals{failing: 1}},
		{trial{fault: named("resets at once"), shape: put, falls: true}, 502, arrivals{failing: 1}},
		{trial{fault: named("refuses"), shape: search, falls: true}, 200, arrivals{legacy: 1}},
		{trial{fault: named("refuses"), shape: put, falls: true}, 503, arrivals{}},
		{trial{fault: named("stalls"), shape: get, falls: true}, 504, arrivals{failing: 1}},
	} {
		if got := c.trial.want(); got.status != c.status || c.trial.wantArrivals() != c.arrivals {
			t.Errorf("%s: wants %s and %v", c.trial, got, c.trial.wantArrivals())
		}
	}
}

func TestSample(t *testing.T) {
	t.Parallel()
	text := []byte("# TYPE go_goroutines gauge\ngo_goroutines 41\ngo_memstats_heap_alloc_bytes 2.5e+06\ngo_goroutines_other 1\n# HeapAlloc = 3061400\n")
	if v, err := sample(text, "go_memstats_heap_alloc_bytes"); v != 2.5e6 || err != nil {
		t.Errorf("%v, %v", v, err)
	}
	if v, err := sample(text, "go_goroutines"); v != 41 || err != nil {
		t.Errorf("%v, %v", v, err)
	}
	if v, err := sample(text, "# HeapAlloc ="); v != 3_061_400 || err != nil {
		t.Errorf("%v, %v", v, err)
	}
	if _, err := sample(text, "process_open_fds"); err == nil {
		t.Error("found what is not there")
	}
}

// A body that differs in any way is told from the one that was sent.
func TestCompare(t *testing.T) {
	t.Parallel()
	c := newContent(1)
	p := piece{at: 1000, size: 70_000}
	whole := c.of(p)
	if err := c.compare(bytes.NewReader(whole), p); err != nil {
		t.Errorf("the same: %v", err)
	}
	changed := slices.Clone(whole)
	changed[50_000]++
	for name, other := range map[string][]byte{"short": whole[:69_999], "long": c.of(piece{at: 1000, size: 70_001}), "empty": nil, "changed": changed,
		"another's": c.of(piece{at: 1001, size: 70_000})} {
		if c.compare(bytes.NewReader(other), p) == nil {
			t.Errorf("%s passes", name)
		}
	}
}

func TestFlags(t *testing.T) {
	t.Parallel()
	o, err := parse(nil)
	if err != nil || o.requests != 300_000 || o.reloads != 500 || o.changes != 200 || !o.h2c || !o.memory || o.strangler != filepath.Join("bin", "strangler") {
		t.Errorf("%+v, %v", o, err)
	}
	o, err = parse([]string{"--short", "--requests", "500", "--no-memory"})
	if err != nil || o.requests != 500 || o.reloads != 20 || o.memory {
		t.Errorf("%+v, %v", o, err)
	}
	for _, args := range [][]string{{"stray"}, {"--requests", "10"}, {"--concurrency", "0"}, {"--reloads", "-1"}, {"--duration", "0s"}, {"--requests", "100", "--reloads", "101"}, {"--nonsense"}} {
		if _, err := parse(args); err == nil {
			t.Errorf("%q was accepted", args)
		}
	}
}

// A breaker hears of a request once, whatever was tried in between; the request that warms up a connection is another.
func TestHears(t *testing.T) {
	t.Parallel()
	named := func(name string) fault {
		return faults[slices.IndexFunc(faults, func(f fault) bool { return f.name == name })]
	}
	get, put := shapes[0], shapes[3]
	for _, c := range []struct {
		trial trial
		want  counts
	}{
		{trial{fault: named("resets at once"), shape: get}, counts{Requests: 1, Failures: 1}},
		{trial{fault: named("resets at once"), shape: get, falls: true}, counts{Requests: 1, Failures: 1, Legacy: 1}},
		{trial{fault: named("resets at once"), shape: put, falls: true, warm: true}, counts{Requests: 2, Failures: 1}},
		{trial{fault: named("answers early"), shape: put}, counts{Requests: 1}},
		{trial{fault: named("closes in the body"), shape: get}, counts{Requests: 1, Broken: 1}},
		{trial{fault: named("a byte a second"), shape: get}, counts{Requests: 1}},
		{trial{fault: named("a byte a second"), shape: put}, counts{Requests: 1, Broken: 1}},
	} {
		if got := c.trial.hears(); got != c.want {
			t.Errorf("%s: %+v, not %+v", c.trial, got, c.want)
		}
	}
}

func TestOneTooManyIsCounted(t *testing.T) {
	t.Parallel()
	before, want := counts{Requests: 10, Failures: 3, Legacy: 2}, counts{Requests: 4, Failures: 2, Legacy: 1, Broken: 1}
	for added, good := range map[counts]bool{
		{Requests: 4, Failures: 2, Legacy: 1}: true,
		{Requests: 4, Failures: 3, Legacy: 1}: true, // an answer that broke off
		{Requests: 4, Failures: 4, Legacy: 1}: false,
		{Requests: 4, Failures: 1, Legacy: 1}: false,
		{Requests: 5, Failures: 2, Legacy: 1}: false,
		{Requests: 3, Failures: 2, Legacy: 1}: false,
		{Requests: 4, Failures: 2, Legacy: 2}: false,
	} {
		if err := counted("failing", before, before.plus(added), want); (err == nil) != good {
			t.Errorf("%+v: %v", added, err)
		}
	}
}
