package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

func (c *cli) log() *cobra.Command {
	limit := positive(50)
	command := &cobra.Command{
		Use:   "log [CAPABILITY]",
		Short: "Show the ledger: every change, who made it, and how it ended",
		Args:  atMostOne,
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := c.client()
			if err != nil {
				return err
			}
			defer client.Close()
			entries, err := client.Ledger(cmd.Context(), strings.Join(args, ""), int(limit))
			if err != nil {
				return c.reach(err)
			}
			if c.json {
				return c.out.json(entries)
			}
			if len(entries) == 0 {
				c.out.line("nothing has happened yet")
				return nil
			}
			rows := [][]string{{"TIME", "CAPABILITY", "WHO", "WHAT", "FROM", "TO", "OUTCOME"}}
			for _, e := range entries {
				rows = append(rows, []string{e.At.Local().Format("2006-01-02 15:04:05.000"), e.Capability, e.Actor, e.Action, e.From, e.To, firstLine(e.Outcome)})
			}
			c.out.table(rows)
			return nil
		},
	}
	command.Flags().VarP(&limit, "limit", "n", "show the last so many entries")
	return command
}

func firstLine(s string) string {
	first, _, more := strings.Cut(s, "\n")
	if more {
		return fmt.Sprintf("%s …", first)
	}
	return first
}
