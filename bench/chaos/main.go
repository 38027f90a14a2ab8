// Command chaos disturbs switches: at every moment between two steps of one, in both directions, it kills, stops or cuts
// off the controller, each proxy, each database and Consul's leader, under load, lets the switch be finished, and then
// asks the databases and its own record of every request and answer what became of it.
//
// It owns the two applications (one of each side), their clients, the record, the faults and the verdict. It runs a
// strangler that was built with breakpoints, by its command line, and imports nothing of it: of two controllers, two
// proxies, two PostgreSQL clusters and three Consul servers each is a process of its own, and all of them are real.
//
// A cell of the matrix is a moment, a target and a fault. After each of them the load rests, and must hold:
//
//   - every acknowledged write stands once in the log of writes, and in both databases;
//   - the tables of both databases are equal, and counters add up;
//   - the history of each order is linearizable as that of a register that is swapped, which a fork is not;
//   - at no moment were both gates open;
//   - only clients that the fault explains have seen errors, while it lasted, and only of the kinds that are documented.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(os.Stderr, "chaos:", err)
		}
		stop()
		os.Exit(1)
	}
}

// options are the flags.
type options struct {
	strangler string
	dir       string
	report    string
	only      string
	sample    int
	switches  int
	seed      uint64
	rate      int
	keep      bool
	slow      []cell // with the leases that a configuration has by itself
}

func parse(args []string) (options, error) {
	var o options
	flags := flag.NewFlagSet("chaos", flag.ContinueOnError)
	flags.StringVar(&o.strangler, "strangler", "bin/strangler-breakpoints", "the `program` to run, built with -tags breakpoints")
	flags.StringVar(&o.dir, "dir", "", "`folder` for configuration and logs (default: a temporary one, removed when all is well)")
	flags.StringVar(&o.report, "report", "", "Markdown `file` whose results are to be replaced")
	flags.StringVar(&o.only, "only", "", "`pattern` of the cells to run, such as 'seal.*controller'")
	flags.IntVar(&o.sample, "sample", 0, "run this many cells, chosen at random; 0: all")
	flags.IntVar(&o.switches, "undisturbed", 0, "instead of the matrix, switch so many times back and forth and measure what clients see of it")
	flags.Uint64Var(&o.seed, "seed", 0, "of what is chosen and written; 0: the time")
	flags.IntVar(&o.rate, "rate", 100, "requests a second, writes and reads")
	flags.BoolVar(&o.keep, "keep", false, "keep the folder")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if flags.NArg() > 0 {
		return o, fmt.Errorf("no arguments are taken: %q", flags.Args())
	}
	if o.seed == 0 {
		o.seed = uint64(time.Now().UnixNano()) //nolint:gosec // any number will do
	}
	return o, nil
}

// run goes through the matrix, tells what came of each cell, and takes everything down again in any case.
func run(ctx context.Context, args []string, out io.Writer) (err error) {
	o, err := parse(args)
	if err != nil {
		return err
	}
	cells, err := o.choose()
	if err != nil {
		return err
	}
	if o.switches > 0 {
		w, err := newWorld(ctx, o, short)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, w.close()) }()
		return w.gapsOf(ctx, o, out)
	}
	began := time.Now()
	results, account, err := o.play(ctx, short, cells, out)
	if err == nil && len(o.slow) > 0 && !slices.ContainsFunc(results, func(r result) bool { return r.lost }) {
		var more []result
		var and string
		more, and, err = o.play(ctx, long, o.slow, out)
		results, account = append(results, more...), account+"; with the default leases "+and
	}
	if err != nil {
		return err
	}
	bad := 0
	for _, r := range results {
		if len(r.Problems) > 0 {
			bad++
		}
	}
	took := time.Since(began)
	fmt.Fprintf(out, "%d cells in %s, %d with problems; %s\n", len(results), took.Round(time.Second), bad, account)
	if o.report != "" {
		if err := report(o.report, "chaos", table(results, took, account)); err != nil {
			return err
		}
	}
	if bad > 0 {
		return fmt.Errorf("%d of %d cells have problems; once more: --seed %d", bad, len(results), o.seed)
	}
	return nil
}

// play goes through cells in a world of their own.
func (o options) play(ctx context.Context, t times, cells []cell, out io.Writer) (results []result, account string, err error) {
	w, err := newWorld(ctx, o, t)
	if err != nil {
		return nil, "", err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	fmt.Fprintf(out, "%d cells, seed %d, logs in %s\n", len(cells), o.seed, w.dir)
	for i, c := range cells {
		play := w.cell
		if c.Fault == longWriter {
			play = w.first
		}
		r := play(ctx, c)
		if t == long {
			r.Fault += fmt.Sprintf(" for %s, with the leases that a configuration has by itself", t.fault)
		}
		if ctx.Err() != nil {
			w.keep = true
			return results, "", context.Cause(ctx)
		}
		results = append(results, r)
		fmt.Fprintf(out, "%3d/%d %s\n", i+1, len(cells), r)
		w.keep = w.keep || len(r.Problems) > 0
		if r.lost {
			break // nothing that comes after it would mean anything
		}
	}
	return results, w.load.account(), nil
}

// gapsOf measures switches that nobody disturbs.
func (w *world) gapsOf(ctx context.Context, o options, out io.Writer) error {
	gaps, before, after, err := w.undisturbed(ctx, o.switches, out)
	w.keep = w.keep || err != nil
	if err != nil {
		return err
	}
	text := gapTable(gaps, o.rate, before, after)
	fmt.Fprintf(out, "\n%s", text)
	if o.report != "" {
		if err := report(o.report, "bench-gap", text); err != nil {
			return err
		}
	}
	return after.grown(before)
}
