package main

import (
	"errors"
	"flag"
	"fmt"
	"time"
)

// options are the flags.
type options struct {
	strangler   string
	dir, json   string
	requests    int
	reloads     int
	changes     int
	concurrency int
	duration    time.Duration
	seed        uint64
	short       bool
	h2c         bool
	tls         bool
	consul      bool
	memory      bool
}

func parse(args []string) (options, error) {
	var o options
	var noMemory bool
	flags := flag.NewFlagSet("soak", flag.ContinueOnError)
	flags.StringVar(&o.strangler, "strangler", "bin/strangler", "the `program` to run")
	flags.StringVar(&o.dir, "dir", "", "`folder` for configuration and log (default: a temporary one, removed when all is well)")
	flags.StringVar(&o.json, "json", "", "`file` for the summary")
	flags.IntVar(&o.requests, "requests", 300_000, "requests of the traffic; those of the fault matrix come on top")
	flags.IntVar(&o.reloads, "reloads", 500, "documents rewritten meanwhile")
	flags.IntVar(&o.changes, "changes", 200, "endpoint lists changed meanwhile")
	flags.IntVar(&o.concurrency, "concurrency", 48, "requests at once")
	flags.DurationVar(&o.duration, "duration", 20*time.Minute, "the longest it may take; then it has failed")
	flags.Uint64Var(&o.seed, "seed", 1, "of what is sent and what is changed")
	flags.BoolVar(&o.short, "short", false, "3,000 requests, 20 reloads, 10 changes and a part of the fault matrix")
	flags.BoolVar(&o.h2c, "h2c", true, "HTTP/2 without TLS, to the proxy and from it; with --tls from it alone")
	flags.BoolVar(&o.tls, "tls", false, "clients use TLS, and HTTP/2 where both agree on it")
	flags.BoolVar(&o.consul, "consul", false, "documents, states and the monolith's addresses are kept in Consul, which is built on first use")
	flags.BoolVar(&noMemory, "no-memory", false, "do not force collections and do not compare the heap")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	o.memory = !noMemory
	given := map[string]bool{}
	flags.Visit(func(f *flag.Flag) { given[f.Name] = true })
	if o.short {
		for name, least := range map[string]func(){
			"requests": func() { o.requests = 3000 }, "reloads": func() { o.reloads = 20 }, "changes": func() { o.changes = 10 },
			"concurrency": func() { o.concurrency = 16 }, "duration": func() { o.duration = 3 * time.Minute },
		} {
			if !given[name] {
				least()
			}
		}
	}
	switch {
	case flags.NArg() > 0:
		return o, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	case o.requests < 100 || o.concurrency < 1 || o.reloads < 0 || o.changes < 0 || o.duration <= 0:
		return o, errors.New("at least 100 requests, one at a time, within some time")
	case o.reloads > o.requests || o.changes > o.requests:
		return o, errors.New("not more changes than requests")
	}
	return o, nil
}
