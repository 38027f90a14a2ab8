// Command strangler moves a monolith out of the way one business capability at a
// time: its traffic by a routing proxy, its tables by a data mover, and both
// together by one command that can be taken back.
//
// This package is the wiring. It reads flags, builds the parts, connects them by
// the interfaces they declare, and prints what they answer; one file per verb.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// cli is what every verb is given: the flags that all of them take, and where to
// print.
type cli struct {
	config string
	json   bool
	out    *printer
	errs   *printer

	misread error // found where cobra lets none be returned
	last    *goodbye
}

func main() {
	last := &goodbye{}
	os.Exit(run(interrupted(last), last, os.Args[1:], os.Stdout, os.Stderr))
}

// run carries out one command line and returns the exit status: 0 when what was
// asked is true now, 1 when it is not, 2 when the command line cannot be read.
func run(ctx context.Context, last *goodbye, args []string, stdout, stderr *os.File) int {
	c := &cli{out: newPrinter(stdout), errs: newPrinter(stderr), last: last}
	root := c.root()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := cmp.Or(root.ExecuteContext(ctx), c.misread)
	c.out.rest()
	var usage usageError
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errSaid):
		return 1
	case errors.As(err, &usage):
		c.errs.line(fmt.Sprintf("%s %v", c.errs.red("error:"), err))
		return 2
	case errors.As(err, new(leftError)):
		c.errs.line(err.Error())
		return 1
	case ctx.Err() != nil:
		c.errs.line("interrupted")
		return 1
	}
	c.errs.line(fmt.Sprintf("%s %v", c.errs.red("error:"), err))
	return 1
}

// errSaid means that the problem has been printed already.
var errSaid = errors.New("said")

func (c *cli) root() *cobra.Command {
	root := group(&cobra.Command{
		Use:   "strangler",
		Short: "Move one business capability at a time out of a monolith: traffic and data together, and back",
		Long: `strangler stands in front of a monolith as a proxy and moves one business
capability at a time to a service of its own: its requests by weight, its
PostgreSQL tables by copying and following, and the ownership of both by one
command that can be taken back.

Every verb is a fact. The exit status is 0 when what was asked is true now, 1 when
it is not (a sentence on standard error says why and what to do), and 2 when the
command line cannot be read.`,
		Version:       version(),
		SilenceErrors: true,
		SilenceUsage:  true,
	})
	root.PersistentFlags().StringVarP(&c.config, "config", "c", "config.yaml", "configuration file")
	root.PersistentFlags().BoolVar(&c.json, "json", false, "print JSON")
	root.AddGroup(&cobra.Group{ID: "run", Title: "Processes:"}, &cobra.Group{ID: "see", Title: "Looking:"},
		&cobra.Group{ID: "move", Title: "Moving traffic and data:"})
	add := func(group string, commands ...*cobra.Command) {
		for _, command := range commands {
			command.GroupID = group
			root.AddCommand(command)
		}
	}
	add("run", c.up(), c.proxy(), c.controller(), c.document())
	add("see", c.check(), c.status(), c.route(), c.log())
	add("move", c.weight(), c.breaker(), c.mirror(), c.data(), c.cutover(), c.rollback(), c.retire())
	c.readable(root)
	return root
}

// version is that of the build: of the module, or of the commit.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	words := info.Main.Version
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			words += " " + s.Value
		}
	}
	return words + " " + info.GoVersion
}

// actor names the person at the keyboard, for the ledger.
func actor() string {
	if u, err := user.Current(); err == nil {
		return "cli:" + u.Username
	}
	return "cli"
}
