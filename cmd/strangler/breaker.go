package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"strangler/capability"
)

func (c *cli) breaker() *cobra.Command {
	return &cobra.Command{
		Use:   "breaker CAPABILITY SIDE MODE",
		Short: "Take a breaker into your own hands, or give it back",
		Long: `Sets how the breaker of one side of a capability works, in the document, and
returns when every proxy serves it:

  enforce    it opens and closes by itself (the default)
  observe    it counts and shows what it would do, and lets everything through
  disabled   it is closed and counts nothing
  open       nothing passes: reads go to the other side where they may, writes get 503`,
		Example: "  strangler breaker orders extracted open\n  strangler breaker orders extracted enforce",
		Args:    exactly("CAPABILITY", "SIDE", "MODE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			side, err := capability.ParseSide(args[1])
			if err != nil {
				return misread(cmd, "%v", err)
			}
			mode, err := capability.ParseBreakerMode(args[2])
			if err != nil {
				return misread(cmd, "%v", err)
			}
			client, err := c.client()
			if err != nil {
				return err
			}
			defer client.Close()
			status, err := client.SetBreakers(cmd.Context(), args[0], map[capability.Side]capability.BreakerMode{side: mode})
			if err != nil {
				return c.reach(err)
			}
			if c.json {
				return c.out.json(status)
			}
			c.out.line(fmt.Sprintf("%s the breaker of %s, %s side: %s", c.out.green("done:"), args[0], side, mode))
			c.silent(status)
			return nil
		},
	}
}
