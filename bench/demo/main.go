// Command demo plays the whole story on one machine: a living monolith loses its orders to a service, traffic and data,
// under load, and gets them back, with nothing lost. With --up it sets the stage and leaves the story to the person at
// the terminal.
//
// It owns the order of events, what is told about them, and the verdict. The processes belong to package stage, the load
// to shoppers, the questions to the databases to check.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"bench/stage"
)

// options are the flags.
type options struct {
	root, dir, report           string
	up, load, keep              bool
	customers, products, orders int
	shoppers                    int
	writes, reads               float64
	seed                        uint64
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(os.Stderr, "demo:", err)
		}
		stop()
		os.Exit(1)
	}
}

func parse(args []string) (options, error) {
	var o options
	flags := flag.NewFlagSet("demo", flag.ContinueOnError)
	flags.StringVar(&o.root, "root", ".", "the repository's `folder`")
	flags.StringVar(&o.dir, "dir", ".demo", "`folder` for all state, emptied first")
	flags.StringVar(&o.report, "report", "", "where the report goes (default report.json in --dir)")
	flags.BoolVar(&o.up, "up", false, "start everything and leave it running until Ctrl-C")
	flags.BoolVar(&o.load, "load", false, "with --up: send shoppers in")
	flags.BoolVar(&o.keep, "keep", false, "keep the databases' folders")
	flags.IntVar(&o.customers, "customers", 20_000, "how many customers to generate")
	flags.IntVar(&o.products, "products", 5_000, "how many products to generate")
	flags.IntVar(&o.orders, "orders", 200_000, "how many orders to generate")
	flags.IntVar(&o.shoppers, "shoppers", 600, "how many shoppers may be busy at once")
	flags.Float64Var(&o.writes, "writes", 175, "writes per second; below 150 the run proves nothing and fails")
	flags.Float64Var(&o.reads, "reads", 50, "reads per second, besides those that follow each write")
	flags.Uint64Var(&o.seed, "seed", 1, "of what the shoppers choose to do")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	switch {
	case flags.NArg() > 0:
		return o, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	case o.load && !o.up:
		return o, errors.New("--load goes with --up; without it there is always load")
	case o.shoppers < 1 || o.shoppers > o.customers || o.products < 1 || o.orders < 0:
		return o, errors.New("a shop needs products, and as many customers as shoppers")
	}
	if o.report == "" {
		o.report = filepath.Join(o.dir, "report.json")
	}
	return o, nil
}

// run plays the demonstration, or holds the stage until ctx ends, and takes everything down again in any case.
func run(ctx context.Context, args []string, out *os.File) (err error) {
	o, err := parse(args)
	if err != nil {
		return err
	}
	set, err := stage.Open(stage.Options{Root: o.root, Dir: o.dir, Keep: o.keep, UsualPort: o.up, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	say := newNarrator(out)
	defer func() {
		say.endProgress()
		err = errors.Join(err, set.Close())
	}()
	told := ctx // ends when the person at the terminal says so
	ctx, cancel := context.WithCancelCause(told)
	defer cancel(nil)
	go func() {
		select {
		case died := <-set.Died():
			cancel(died)
		case <-ctx.Done():
		}
	}()
	s := &story{options: o, stage: set, say: say}
	if o.up {
		err := s.up(ctx)
		if told.Err() != nil {
			return nil
		}
		return err
	}
	if err := s.play(ctx); err != nil {
		return fmt.Errorf("%w\nlogs are in %s", err, set.Logs())
	}
	return nil
}
