// Command soak wears a strangler out: hundreds of thousands of requests of all the protocols it speaks, while its
// documents are rewritten, its endpoints come and go, and its upstreams fail in every way upstreams fail. It exits with
// 0 only if every request ended as it had to, and nothing was left behind: no goroutine, no descriptor, no memory.
//
// It owns the clients, the upstreams, the documents, and the verdict. It runs a strangler that was built before, by its
// command line, and imports nothing of it. Clients and upstreams share this process, so that both ends of an exchange
// can be compared: what was sent with what arrived, and how often.
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
			fmt.Fprintln(os.Stderr, "soak:", err)
		}
		stop()
		os.Exit(1)
	}
}

// run soaks the strangler, prints what became of it, and takes everything down again in any case.
func run(ctx context.Context, args []string, out io.Writer) (err error) {
	o, err := parse(args)
	if err != nil {
		return err
	}
	var r *registry
	if o.consul { // before the time runs: it may have to be built
		if r, err = startRegistry(ctx); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, r.agent.Close()) }()
	}
	ctx, cancel := context.WithTimeoutCause(ctx, o.duration, fmt.Errorf("not done within %s", o.duration))
	defer cancel()
	s, err := open(ctx, o, r, out)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	failed := s.play(ctx)
	stopped := s.stop()
	summary := s.summarise()
	if failed != nil {
		summary.Problems = append(summary.Problems, failed.Error())
	}
	if stopped != nil {
		summary.Problems = append(summary.Problems, stopped.Error())
	}
	summary.print(out)
	if o.json != "" {
		if err := summary.write(o.json); err != nil {
			return err
		}
	}
	if n := summary.wrong(); n > 0 {
		s.keep = true
		return fmt.Errorf("%d findings; seed %d; the log is %s", n, o.seed, s.proxy.log)
	}
	return nil
}
