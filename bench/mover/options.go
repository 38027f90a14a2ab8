package main

import (
	"errors"
	"flag"
	"fmt"
	"slices"
	"strings"
)

// clients of pgbench, each with a connection of its own.
const clients = 8

// options are the flags.
type options struct {
	strangler    string
	json         string
	only         []string
	rounds       int
	rows         int
	transactions int
	scale        int
	seconds      int
}

// keys of the sections, in their order.
var keys = []string{"narrow", "wide", "catchup", "ordered", "source", "verify", "memory"}

func parse(args []string) (options, error) {
	var o options
	var only string
	var quick bool
	flags := flag.NewFlagSet("mover", flag.ContinueOnError)
	flags.StringVar(&o.strangler, "strangler", "bin/strangler", "the `program` to measure")
	flags.StringVar(&o.json, "json", "", "`file` for every figure of every round")
	flags.StringVar(&only, "only", "", "the `parts` to measure, with commas: "+strings.Join(keys, ",")+" (default all)")
	flags.IntVar(&o.rounds, "rounds", 5, "how often each one has its turn; medians are shown")
	flags.IntVar(&o.rows, "rows", 2_000_000, "rows of the narrow and of the wide table, and of the one large transaction")
	flags.IntVar(&o.transactions, "transactions", 60_000, "pgbench transactions to catch up with, of four changes each")
	flags.IntVar(&o.scale, "scale", 10, "of pgbench: 100,000 accounts each")
	flags.IntVar(&o.seconds, "seconds", 20, "of pgbench, for the cost on the source")
	flags.BoolVar(&quick, "quick", false, "one round of small sizes, to see that everything works: its figures mean nothing")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	given := map[string]bool{}
	flags.Visit(func(f *flag.Flag) { given[f.Name] = true })
	if quick {
		for name, small := range map[string]func(){
			"rounds": func() { o.rounds = 1 }, "rows": func() { o.rows = 100_000 }, "transactions": func() { o.transactions = 4_000 },
			"scale": func() { o.scale = 1 }, "seconds": func() { o.seconds = 3 },
		} {
			if !given[name] {
				small()
			}
		}
	}
	switch {
	case flags.NArg() > 0:
		return o, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	case min(o.rounds, o.rows, o.scale, o.seconds) < 1 || o.transactions < clients:
		return o, fmt.Errorf("every size is at least 1, and transactions at least %d, one for each client", clients)
	}
	o.only = keys
	if only != "" {
		o.only = strings.Split(only, ",")
	}
	for _, key := range o.only {
		if !slices.Contains(keys, key) {
			return o, errors.New("--only takes some of " + strings.Join(keys, ",") + ", not " + key)
		}
	}
	return o, nil
}
