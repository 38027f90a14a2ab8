package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"strangler/capability"
	"strangler/controller"
	"strangler/internal/api"
)

func (c *cli) retire() *cobra.Command {
	var (
		request api.RetireRequest
		despite []string
		yes     bool
	)
	command := &cobra.Command{
		Use:   "retire CAPABILITY",
		Short: "End a migration for good: no way back, no streams, the legacy tables in an archive",
		Long: `For a capability that extracted owns and that nobody in the monolith needs any
more. Compares every row where that is due, and refuses while anything is in the
way, by name:

  scans       somebody reads the legacy tables. The streams pause, and for the time
              of --observe nobody may. PostgreSQL counts what a session has read up to
              ten seconds later
  dependents  foreign keys of tables that stay, views, functions, triggers,
              publications
  copies      tables of mode: copy, which nothing would keep current any more

--despite leaves these out of account. Then it drops streams, slots, publications,
triggers and gates, moves the legacy tables into the schema
strangler_archive_CAPABILITY, and writes data.state: retired into the document. No
rollback is possible from then on. Whatever interrupts it, the same command goes on.`,
		Args: exactly("CAPABILITY"),
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, word := range despite {
				kind, err := capability.ParseUseKind(word)
				if err != nil {
					return misread(cmd, "--despite: %v", err)
				}
				request.Despite = append(request.Despite, kind)
			}
			if request.Observe < time.Second {
				return misread(cmd, "--observe: %s is less than a second; to watch nobody, write --despite scans", request.Observe)
			}
			if !yes && !request.DryRun {
				return fmt.Errorf("retiring %s cannot be taken back; look first with: strangler retire %s --dry-run, and then say --yes", args[0], args[0])
			}
			return c.retiring(cmd, args[0], request)
		},
	}
	flags := command.Flags()
	flags.BoolVar(&request.DryRun, "dry-run", false, "check everything but readers, and print the steps; change nothing")
	flags.BoolVar(&yes, "yes", false, "do it, although there is no way back")
	flags.DurationVar(&request.Observe, "observe", time.Minute, "for how long nobody may read the legacy tables")
	flags.StringSliceVar(&despite, "despite", nil, "leave out of account: scans, dependents, copies")
	return command
}

func (c *cli) retiring(cmd *cobra.Command, name string, request api.RetireRequest) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	defer client.Close()
	if request.DryRun {
		lines := []capability.Progress{}
		show := c.follow()
		var result controller.RetireResult
		err := client.Retire(cmd.Context(), name, request, func(p capability.Progress) { lines = append(lines, p); show(p) }, &result)
		switch {
		case err != nil:
			return c.reach(err)
		case c.json:
			return c.out.json(lines)
		case result.Already:
			c.out.line(fmt.Sprintf("%s is retired since %s", name, clock(result.Retired)))
			return nil
		}
		c.despite(result.Despite)
		c.out.line("nothing was changed; leave out --dry-run and say --yes to do it")
		return nil
	}
	var result controller.RetireResult
	if err := client.Retire(cmd.Context(), name, request, c.follow(), &result); err != nil {
		return c.leave(cmd.Context(), err, "a retirement that has taken its first step goes on to its end, any other is given up", name)
	}
	switch {
	case c.json:
		return c.out.json(result)
	case result.Already:
		c.out.line(fmt.Sprintf("%s is retired since %s", name, clock(result.Retired)))
		return nil
	}
	c.despite(result.Despite)
	archive := "strangler_archive_" + strings.ReplaceAll(name, "-", "_")
	c.out.line(fmt.Sprintf("%s extracted owns %s for good. When nobody misses them, in the legacy database: DROP SCHEMA %s CASCADE", c.out.green("done:"), name, archive))
	return nil
}

// despite prints what was left out of account.
func (c *cli) despite(uses []capability.Use) {
	for _, u := range uses {
		c.out.line(c.out.yellow("left out of account: ") + u.What)
	}
}
