package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"strangler/capability"
	"strangler/internal/api"
)

func (c *cli) data() *cobra.Command {
	return group(&cobra.Command{Use: "data", Short: "Plan, start, watch and verify the move of a capability's tables"},
		c.dataPlan(), c.dataStatus(), c.dataVerify(),
		c.dataVerb("start", "Copy what is there, then follow in both directions; returns when both sides follow", "both streams run"),
		c.dataVerb("pause", "Stop copying and following; the slots keep the changes", "paused"),
		c.dataVerb("resume", "Go on after a pause", "both streams run"),
		c.dataVerb("reset", "Take back all that a move has made, while legacy owns", "nothing is left of the move"),
	)
}

// dataVerb is a command that changes what the mover does and returns when it
// does.
func (c *cli) dataVerb(verb, short, done string) *cobra.Command {
	dryRun := false
	command := &cobra.Command{Use: verb + " CAPABILITY", Short: short, Args: exactly("CAPABILITY"), RunE: func(cmd *cobra.Command, args []string) error {
		client, err := c.client()
		if err != nil {
			return err
		}
		defer client.Close()
		if err := client.Data(cmd.Context(), args[0], verb, api.DataRequest{DryRun: dryRun}, c.follow(), nil); err != nil {
			return c.reach(err)
		}
		if !c.json {
			if dryRun {
				done = "nothing; leave out --dry-run to do it"
			}
			c.out.line(c.out.green("done: ") + done)
			return nil
		}
		status, err := client.Capability(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		return c.out.json(status.Data)
	}}
	if verb == "reset" {
		command.Flags().BoolVar(&dryRun, "dry-run", false, "say what would be dropped and emptied; change nothing")
	}
	return command
}

func (c *cli) dataStatus() *cobra.Command {
	return &cobra.Command{Use: "status CAPABILITY", Short: "Show where the data of a capability stands", Args: exactly("CAPABILITY"), RunE: func(cmd *cobra.Command, args []string) error {
		client, err := c.client()
		if err != nil {
			return err
		}
		defer client.Close()
		status, err := client.Capability(cmd.Context(), args[0])
		if err != nil {
			return c.reach(err)
		}
		if c.json {
			return c.out.json(status.Data)
		}
		c.out.line(c.out.bold(status.Capability))
		c.dataLines(status.Data)
		return nil
	}}
}

func (c *cli) dataVerify() *cobra.Command {
	return &cobra.Command{
		Use:   "verify CAPABILITY",
		Short: "Compare every row of both databases, exactly, while both are in use",
		Args:  exactly("CAPABILITY"),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := c.client()
			if err != nil {
				return err
			}
			defer client.Close()
			var v capability.VerifyStatus
			err = c.reach(client.Data(cmd.Context(), args[0], "verify", api.DataRequest{}, c.follow(), &v))
			if err != nil {
				return err
			}
			if c.json {
				err = c.out.json(v)
			} else {
				c.out.line(fmt.Sprintf("%d rows compared at %s in %s", v.Rows, v.Position, short(v.Took)))
				c.verifyLine(v)
			}
			if err == nil && v.Count > 0 {
				return fmt.Errorf("%d rows differ", v.Count)
			}
			return err
		},
	}
}
