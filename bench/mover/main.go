// Command mover measures strangler's data mover against what a user would take instead: COPY through psql, pg_dump, a native
// subscription, a hash in SQL. Everything runs on the same two PostgreSQL clusters, in turns, so that a machine that is busy
// slows all of them down alike; the figures to look at are the ratios.
//
// It owns the clusters, the tables, the order of the turns and the table of figures. It drives a strangler that was built before
// by its command line, and the databases as any client does; it imports nothing of the product. No figure makes it fail: it fails
// where something does not work, or where what arrived is not what was sent.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(os.Stderr, "mover:", err)
		}
		stop()
		os.Exit(1)
	}
}

// run measures what was asked for, prints it, and takes everything down again in any case.
func run(ctx context.Context, args []string, out io.Writer) (err error) {
	o, err := parse(args)
	if err != nil {
		return err
	}
	w, err := open(ctx, o, out)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	r := w.report()
	sections, err := w.sections(ctx)
	if err != nil {
		return err
	}
	for _, s := range sections {
		found, err := w.play(ctx, s)
		if err != nil {
			return fmt.Errorf("%s: %w", s.key, err)
		}
		found.print(out)
		r.Sections = append(r.Sections, found)
	}
	if o.json == "" {
		return nil
	}
	return r.write(o.json)
}
