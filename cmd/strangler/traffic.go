package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"strangler/capability"
	"strangler/internal/api"
)

func (c *cli) weight() *cobra.Command {
	return &cobra.Command{
		Use:   "weight CAPABILITY PERCENT",
		Short: "Let the extracted service answer a share of the subjects",
		Long: `Sets the share of subjects whose requests the extracted side answers, in steps of
0.01 %. With data it is the share of reads: writes follow the owner, and a subject
that has just written reads there until the other side has caught up. Raising a
weight moves nobody back. Returns when every proxy serves it.`,
		Example: "  strangler weight orders 10%\n  strangler weight orders 0%",
		Args:    exactly("CAPABILITY", "PERCENT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if args[1] == "auto" {
				return errors.New("weight auto is not there yet: raise the weight by hand, step by step")
			}
			weight, err := capability.ParseWeight(args[1])
			if _, unit := capability.ParseWeight(args[1] + "%"); err != nil && unit == nil {
				return misread(cmd, "%v: write %s%%", err, args[1])
			}
			if err != nil {
				return misread(cmd, "%v", err)
			}
			client, err := c.client()
			if err != nil {
				return err
			}
			defer client.Close()
			status, err := client.SetTraffic(cmd.Context(), args[0], api.TrafficRequest{Weight: &weight})
			if err != nil {
				return c.reach(err)
			}
			if c.json {
				return c.out.json(status)
			}
			c.out.line(fmt.Sprintf("%s the extracted side of %s answers %s", c.out.green("done:"), args[0], status.Effective.Weight))
			c.silent(status)
			return nil
		},
	}
}

func (c *cli) mirror() *cobra.Command {
	return &cobra.Command{Use: "mirror CAPABILITY PERCENT", Short: "Copy a share of the reads to the other side (not there yet)", Hidden: true,
		RunE: func(*cobra.Command, []string) error {
			return errors.New("mirroring is not there yet; compare the data with: strangler data verify CAPABILITY")
		}}
}
