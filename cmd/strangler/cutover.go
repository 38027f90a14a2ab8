package main

import (
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"strangler/capability"
	"strangler/controller"
	"strangler/internal/api"
)

func (c *cli) cutover() *cobra.Command {
	return c.switching(capability.Extracted, "cutover CAPABILITY", "Make the extracted service the owner of a capability's writes and reads",
		`Holds the capability's writes at every proxy, closes the legacy gate, waits until
the extracted database has everything, seals the one and opens the other, and
releases the writes to the new owner. Clients see a slow write, not an error.

WebSockets, event streams and streams of gRPC at the old owner are told and closed
within 500 ms (resilience.streams of the document: drain, the default), closed at once
(close), or stay where they are (keep: only for those that never write).

Any failure before the commit point (seal) takes everything back. The way back
afterwards is: strangler rollback CAPABILITY.

--rehearse does everything up to the commit point under the real traffic and takes
it back: it shows how long writes will wait, and changes no owner. Streams end as in the
switch. Whoever writes past the proxy (cron jobs, psql), or through a stream that is
kept, is refused by the database meanwhile, as in the switch itself, and counted: a
switch refuses while the last rehearsal saw any. Foreign keys that cross the border stay.`)
}

func (c *cli) rollback() *cobra.Command {
	return c.switching(capability.Legacy, "rollback CAPABILITY", "Give a capability's writes and reads back to the monolith",
		`The same plan as cutover with the sides swapped: nothing that was written to the
extracted service is lost, because the reverse stream has brought it to the
monolith's tables all along. Streams end as in a cutover.`)
}

func (c *cli) switching(to capability.Side, use, short, long string) *cobra.Command {
	var request api.SwitchRequest
	command := &cobra.Command{Use: use, Short: short, Long: long, Args: exactly("CAPABILITY"), RunE: func(cmd *cobra.Command, args []string) error {
		request.To = to
		if cmd.Flags().Changed("max-gap") && request.Gap <= 0 {
			return misread(cmd, "--max-gap is a duration such as 500ms")
		}
		client, err := c.client()
		if err != nil {
			return err
		}
		defer client.Close()
		if request.Rehearse {
			c.errs.line("a rehearsal: writes past the proxy are refused by the database for as long as the gate is closed, and counted")
		}
		if request.DryRun {
			var lines []capability.Progress
			if err := c.reach(client.Switch(cmd.Context(), args[0], request, c.follow(), &lines)); err != nil {
				return err
			}
			return c.planned(lines)
		}
		var result controller.SwitchResult
		err = client.Switch(cmd.Context(), args[0], request, c.follow(), &result)
		if err != nil {
			return c.leave(cmd.Context(), err, "a switch that has begun goes on to its end", args[0])
		}
		return c.switched(args[0], result)
	}}
	flags := command.Flags()
	flags.BoolVar(&request.DryRun, "dry-run", false, "check everything and print the plan; change nothing")
	flags.BoolVar(&request.Rehearse, "rehearse", false, "do everything up to the commit point under real traffic, and take it back")
	flags.DurationVar(&request.Gap, "max-gap", 0, "take everything back where writes would wait longer, such as 500ms (default switch.gap of the configuration, which is also the most)")
	flags.BoolVar(&request.Accept, "accept-refused", false, "switch although the last rehearsal saw writes refused that did not come through a proxy")
	command.MarkFlagsMutuallyExclusive("dry-run", "rehearse")
	return command
}

// planned prints a dry run; it fails where the switch would be refused.
func (c *cli) planned(lines []capability.Progress) error {
	if c.json {
		if err := c.out.json(lines); err != nil {
			return err
		}
	}
	show := c.follow()
	for _, l := range lines {
		show(l)
	}
	if slices.ContainsFunc(lines, func(l capability.Progress) bool { return l.State == "failed" }) {
		return errors.New("the switch would be refused; nothing was changed")
	}
	if !c.json {
		c.out.line("nothing was changed; leave out --dry-run to do it")
	}
	return nil
}

func (c *cli) switched(name string, r controller.SwitchResult) error {
	if c.json {
		return c.out.json(r)
	}
	if r.Already {
		c.out.line(fmt.Sprintf("%s is owned by %s already", name, r.To))
		return nil
	}
	if r.Refused.Count > 0 {
		c.out.line(c.out.yellow(fmt.Sprintf("the %s gate refused %d writes that did not come through a proxy", r.To.Other(), r.Refused.Count)))
		c.refusedWriters(r.Refused)
	}
	if r.Rehearsed {
		c.out.line(fmt.Sprintf("%s writes of %s waited for %s at most; %s still owns it. Leave out --rehearse to do it", c.out.green("rehearsed:"), name, short(r.Gap), r.To.Other()))
		return nil
	}
	back := "cutover"
	if r.To == capability.Extracted {
		back = "rollback"
	}
	c.out.line(fmt.Sprintf("%s %s is owned by %s; writes waited for %s at most. The way back: strangler %s %s", c.out.green("done:"), name, r.To, short(r.Gap), back, name))
	for _, p := range r.Missing {
		c.out.line(c.out.yellow("did not acknowledge the new owner (its writes are refused by the database until it does): ") + p)
	}
	return nil
}
