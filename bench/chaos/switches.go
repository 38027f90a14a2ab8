package main

import (
	"context"
	"fmt"
	"io"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// around is how long before and after a switch its clients are looked at.
const around = 2 * time.Second

// gap is what clients have seen of one switch.
type gap struct {
	to      string
	silence time.Duration // longest time without an acknowledged write
	slowest time.Duration // write, from when it was due
	failed  int           // requests
	writes  int           // due in that time, per second
	steps   map[string]time.Duration
}

// stepLine is what the command prints of a step that is done.
var stepLine = regexp.MustCompile(`(?m)^\s*✓ (\w+) .*\(([0-9.a-zµ]+)\)$`)

// whileHeld are the steps that writes wait for.
var whileHeld = []string{"hold", "close", "drain", "verify", "sequences", "seal", "open", "publish"}

// stepsOf reads how long the steps of a switch have taken off what was printed.
func stepsOf(printed string) map[string]time.Duration {
	steps := map[string]time.Duration{}
	for _, line := range stepLine.FindAllStringSubmatch(printed, -1) {
		if took, err := time.ParseDuration(line[2]); err == nil {
			steps[line[1]] = took
		}
	}
	return steps
}

// growth is what a strangler keeps, which switches must not add to.
type growth struct {
	slots, publications, origins, goroutines int
	retained, memory                         int64
}

// undisturbed switches back and forth, and tells what clients see of it and what it leaves behind.
func (w *world) undisturbed(ctx context.Context, n int, out io.Writer) (gaps []gap, before, after growth, err error) {
	fmt.Fprintf(out, "%d switches, logs in %s\n", n, w.dir)
	if _, _, err = w.settled(ctx); err != nil {
		return gaps, before, after, err
	}
	for i := range n {
		if i == min(4, n/2) { // pools and plans are as large as they get
			if before, err = w.growth(ctx); err != nil {
				return gaps, before, after, err
			}
		}
		to := []string{"extracted", "legacy"}[i%2]
		begin := time.Now()
		if err := waitFor(ctx, around); err != nil {
			return gaps, before, after, err
		}
		printed, err := w.typed(ctx, verbTo(to), "orders")
		if err != nil {
			return gaps, before, after, err
		}
		if err := waitFor(ctx, around); err != nil {
			return gaps, before, after, err
		}
		g := seen(w.load.look(), begin, time.Now())
		g.to, g.steps = to, stepsOf(printed)
		gaps = append(gaps, g)
		fmt.Fprintf(out, "%3d/%d to %-9s longest silence %4d ms, slowest write %4d ms, %d writes/s, %d failed\n", i+1, n, to, g.silence.Milliseconds(), g.slowest.Milliseconds(), g.writes, g.failed)
		r := result{cell: cell{Target: "nobody"}, Errors: map[string]int{}}
		w.judge(ctx, &r, time.Now().Add(time.Hour)) // no error is explained
		if len(r.Problems) > 0 {
			return gaps, before, after, fmt.Errorf("switch %d: %s", i+1, strings.Join(r.Problems, "\n"))
		}
	}
	after, err = w.growth(ctx)
	return gaps, before, after, err
}

func waitFor(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}

// seen is what a record says of the time from begin to end.
func seen(record []operation, begin, end time.Time) (g gap) {
	slices.SortFunc(record, func(a, b operation) int { return a.end.Compare(b.end) })
	last := begin
	for _, o := range record {
		if !o.ok {
			g.failed++
			continue
		}
		if o.id == "" || o.due.IsZero() {
			continue
		}
		if o.due.After(begin) {
			g.writes++
			g.slowest = max(g.slowest, o.end.Sub(o.due))
		}
		if o.end.After(begin) {
			g.silence = max(g.silence, o.end.Sub(last))
			last = o.end
		}
	}
	g.writes = int(float64(g.writes) / end.Sub(begin).Seconds())
	return g
}

// growth asks what there is now.
func (w *world) growth(ctx context.Context) (g growth, err error) {
	for side, d := range w.databases {
		conn, err := pgx.Connect(ctx, d.URL(names[side]))
		if err != nil {
			return g, err
		}
		var slots, publications, origins int
		var retained int64
		err = conn.QueryRow(ctx, `SELECT (SELECT count(*) FROM pg_replication_slots), (SELECT count(*) FROM pg_publication), (SELECT count(*) FROM pg_replication_origin),
			coalesce((SELECT max(pg_current_wal_lsn() - restart_lsn) FROM pg_replication_slots), 0)::bigint`).Scan(&slots, &publications, &origins, &retained)
		_ = conn.Close(ctx) // nothing is under way
		if err != nil {
			return g, err
		}
		g.slots, g.publications, g.origins, g.retained = g.slots+slots, g.publications+publications, g.origins+origins, max(g.retained, retained)
	}
	for _, p := range append(w.controllers[:], w.proxies[:]...) {
		text, err := p.metrics(ctx)
		if err != nil {
			return g, err
		}
		g.goroutines += int(sample(text, "go_goroutines"))
		g.memory += int64(sample(text, "go_memstats_heap_inuse_bytes"))
	}
	return g, nil
}

// sample is the value of a metric without labels.
func sample(text, name string) (value float64) {
	for line := range strings.Lines(text) {
		if rest, is := strings.CutPrefix(line, name+" "); is {
			_, _ = fmt.Sscan(rest, &value) // 0: it is no number
		}
	}
	return value
}

// grown says what there is more of than at the beginning, by more than what comes and goes.
func (g growth) grown(before growth) error {
	if g.slots != before.slots || g.publications != before.publications || g.origins != before.origins {
		return fmt.Errorf("switches leave something behind in the databases: %+v, before %+v", g, before)
	}
	if g.goroutines > before.goroutines+40 || g.memory > before.memory+before.memory/2+(16<<20) || g.retained > before.retained+(64<<20) {
		return fmt.Errorf("switches leave something behind: %+v, before %+v", g, before)
	}
	return nil
}

// gapTable is the section of the page about gaps.
func gapTable(gaps []gap, rate int, before, after growth) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d switches on %s, %d processors, %d writes and %d reads a second through two proxies; two controllers, three Consul servers, both databases, both applications and the clients on the same machine.\n\n",
		len(gaps), time.Now().UTC().Format(time.DateOnly), runtime.NumCPU(), rate*3/4, rate/4)
	b.WriteString("| | median | worst |\n|---|---|---|\n")
	for _, of := range []struct {
		name string
		get  func(gap) time.Duration
	}{{"`ack_gap_ms`", func(g gap) time.Duration { return g.silence }}, {"`max_write_ms`", func(g gap) time.Duration { return g.slowest }}} {
		var list []time.Duration
		for _, g := range gaps {
			list = append(list, of.get(g))
		}
		slices.Sort(list)
		fmt.Fprintf(&b, "| %s | %d | %d |\n", of.name, list[len(list)/2].Milliseconds(), list[len(list)-1].Milliseconds())
	}
	for _, step := range whileHeld {
		var list []time.Duration
		for _, g := range gaps {
			if took, is := g.steps[step]; is {
				list = append(list, took)
			}
		}
		if len(list) == 0 {
			continue
		}
		slices.Sort(list)
		fmt.Fprintf(&b, "| of it `%s`, ms | %.1f | %.1f |\n", step, list[len(list)/2].Seconds()*1000, list[len(list)-1].Seconds()*1000)
	}
	failed, least := 0, gaps[0].writes
	for _, g := range gaps {
		failed, least = failed+g.failed, min(least, g.writes)
	}
	fmt.Fprintf(&b, "| failed requests | %d | |\n| writes/s acknowledged around a switch, least | %d | |\n\n", failed, least)
	fmt.Fprintf(&b, "Before and after: %d and %d slots, publications and origins, %d and %d goroutines, %.0f and %.0f MiB of heap in four processes, %.1f and %.1f MiB of log kept.\n",
		before.slots+before.publications+before.origins, after.slots+after.publications+after.origins, before.goroutines, after.goroutines,
		float64(before.memory)/(1<<20), float64(after.memory)/(1<<20), float64(before.retained)/(1<<20), float64(after.retained)/(1<<20))
	return b.String()
}
