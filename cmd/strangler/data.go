package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"strangler/capability"
	"strangler/internal/api"
)

func (c *cli) data() *cobra.Command {
	return group(&cobra.Command{Use: "data", Short: "Plan, start, watch and verify the move of a capability's tables"},
		c.dataPlan(), c.dataStatus(),
		c.dataCompare(comparing{verb: "verify", short: "Compare every row of both databases, exactly, while both are in use"}),
		c.dataCompare(comparing{verb: "repair", short: "Make the side that does not own equal to the owner, by comparing every row",
			long: `Compares every row, and makes those that differ on the other side what the owner has;
then compares again. Clients go on. Changes wait while it compares, so that no switch is
possible meanwhile. It is also the way on for a move whose streams cannot go on: a lost
slot, a restored or failed-over database, a conflict. Nothing is copied that is equal.`}),
		c.dataVerb(dataVerb{name: "start", done: "both streams run", left: "the move goes on",
			short: "Copy what is there, then follow in both directions; returns when both sides follow",
			long: `Makes gates, publications and slots, copies the rows that are there, and follows the
changes of both sides from then on, until data reset. Nothing changes for clients.
Going away does not stop it. See first: strangler data plan CAPABILITY.`}),
		c.dataVerb(dataVerb{name: "pause", done: "paused", left: "it will be paused all the same",
			short: "Stop copying and following; the slots keep the changes",
			long: `While it is paused all reads go to the owner, no switch is possible, and the log that
the slots keep grows on the disks of both databases.`}),
		c.dataVerb(dataVerb{name: "resume", done: "both streams run", left: "the move goes on",
			short: "Go on after a pause; returns when both sides follow"}),
		c.dataVerb(dataVerb{name: "reset", done: "nothing is left of the move", left: "the reset goes on",
			short: "Take back all that a move has made, while legacy owns",
			long: `Drops slots, publications, guards and gates, and empties the extracted tables. The
legacy tables keep every row. --dry-run lists it all and changes nothing.`}),
		c.dataOrphans())
}

// dataVerb is a command that changes what the mover does and returns when it
// does.
type dataVerb struct {
	name, short, long string
	done              string // what is true then
	left              string // what becomes of it when the caller goes away
}

func (c *cli) dataVerb(v dataVerb) *cobra.Command {
	dryRun := false
	command := &cobra.Command{Use: v.name + " CAPABILITY", Short: v.short, Long: v.long, Args: exactly("CAPABILITY"), RunE: func(cmd *cobra.Command, args []string) error {
		client, err := c.client()
		if err != nil {
			return err
		}
		defer client.Close()
		if err := client.Data(cmd.Context(), args[0], v.name, api.DataRequest{DryRun: dryRun}, c.follow(), nil); err != nil {
			if dryRun {
				return c.reach(err)
			}
			return c.leave(cmd.Context(), err, v.left, args[0])
		}
		if !c.json {
			if dryRun {
				c.out.line("nothing was changed; leave out --dry-run to do it")
				return nil
			}
			c.out.line(c.out.green("done: ") + v.done)
			return nil
		}
		status, err := client.Capability(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		return c.out.json(status.Data)
	}}
	if v.name == "reset" {
		command.Flags().BoolVar(&dryRun, "dry-run", false, "say what would be dropped and emptied; change nothing")
	}
	return command
}

func (c *cli) dataStatus() *cobra.Command {
	values := false
	command := &cobra.Command{Use: "status CAPABILITY", Short: "Show where the data of a capability stands", Args: exactly("CAPABILITY"), RunE: func(cmd *cobra.Command, args []string) error {
		client, err := c.client()
		if err != nil {
			return err
		}
		defer client.Close()
		status, err := client.Capability(cmd.Context(), args[0])
		if err != nil {
			return c.reach(err)
		}
		var conflict *capability.Conflict
		var differences []capability.Difference
		if values {
			if conflict, err = client.Conflict(cmd.Context(), args[0]); err != nil {
				return c.reach(err)
			}
			if differences, err = client.Differences(cmd.Context(), args[0]); err != nil {
				return c.reach(err)
			}
		}
		if c.json {
			return c.out.json(struct {
				capability.DataStatus
				Conflict    *capability.Conflict    `json:"conflict,omitempty"`
				Differences []capability.Difference `json:"differences,omitempty"`
			}{status.Data, conflict, differences})
		}
		c.out.line(c.out.bold(status.Capability))
		c.dataLines(status.Data)
		if conflict != nil {
			c.conflictLines(*conflict)
		}
		c.differenceLines(differences)
		c.out.entry("switch", status.Switch.Summary)
		return nil
	}}
	command.Flags().BoolVar(&values, "show-values", false, "of a conflict and of rows that differ, show both sides with their values; they may be secret")
	return command
}

// conflictLines print a conflict with its values.
func (c *cli) conflictLines(f capability.Conflict) {
	c.out.entry("conflict", c.out.red(fmt.Sprintf("%s of table %s, from %s: %s", f.Change, f.Table, f.From, f.Detail)))
	if f.Said != "" {
		c.out.entry("", f.Said)
	}
	if len(f.Values) > 0 {
		c.out.entry("", "brings "+fields(f.Values))
	}
	c.rowLines(f.Rows)
}

// differenceLines print rows that differ with their values.
func (c *cli) differenceLines(list []capability.Difference) {
	for _, d := range list {
		c.out.entry("differs", c.out.red(fmt.Sprintf("%s %s: %s", d.Table, d.Key, d.Detail)))
		c.rowLines(d.Rows)
	}
}

// rowLines print what sides have.
func (c *cli) rowLines(rows []capability.Row) {
	for _, r := range rows {
		has := "no such row"
		if r.There {
			has = fields(r.Values)
		}
		c.out.entry("", fmt.Sprintf("%s %s [%s]: %s", r.Side, r.Table, fields(r.Key), has))
	}
}

// fieldMost is how many characters of a value a line has room for.
const fieldMost = 200

// fields writes values for people: quoted, so that none can pass for another or move
// the cursor. JSON has them whole.
func fields(list []capability.Field) string {
	texts := make([]string, len(list))
	for i, f := range list {
		text := "NULL"
		if f.Value != nil {
			letters := []rune(*f.Value)
			if text = strconv.Quote(string(letters[:min(len(letters), fieldMost)])); len(letters) > fieldMost {
				text += fmt.Sprintf("… (%d characters)", len(letters))
			}
		}
		texts[i] = f.Column + "=" + text
	}
	return strings.Join(texts, " ")
}

// comparing is a command that compares every row.
type comparing struct{ verb, short, long string }

func (c *cli) dataCompare(o comparing) *cobra.Command {
	repair, values := o.verb == "repair", false
	command := &cobra.Command{
		Use:   o.verb + " CAPABILITY",
		Short: o.short,
		Long:  o.long,
		Args:  exactly("CAPABILITY"),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := c.client()
			if err != nil {
				return err
			}
			defer client.Close()
			verb := "verify"
			if repair {
				verb = "repair"
			}
			var v capability.VerifyStatus
			err = c.reach(client.Data(cmd.Context(), args[0], verb, api.DataRequest{}, c.follow(), &v))
			if err != nil {
				return err
			}
			var differences []capability.Difference
			if values && v.Count > 0 {
				if differences, err = client.Differences(cmd.Context(), args[0]); err != nil {
					return c.reach(err)
				}
			}
			if c.json {
				err = c.out.json(struct {
					capability.VerifyStatus
					Differences []capability.Difference `json:"differences,omitempty"`
				}{v, differences})
			} else {
				if v.Repaired > 0 {
					c.out.line(fmt.Sprintf("%d rows were mended", v.Repaired))
				}
				c.out.line(fmt.Sprintf("%d rows compared at %s in %s", v.Rows, v.Position, short(v.Took)))
				if v.Method == capability.ByRecheck {
					c.out.line("by reading again what differed, because there was " + v.Reason)
				}
				c.verifyLine(v)
				c.differenceLines(differences)
			}
			if err == nil && v.Count > 0 {
				return fmt.Errorf("%d rows differ; mend them with: strangler data repair %s", v.Count, args[0])
			}
			return err
		},
	}
	if o.verb == "verify" {
		command.Flags().BoolVar(&repair, "repair", false, "mend what differs, as data repair does")
		command.Flags().BoolVar(&values, "show-values", false, "show rows that differ with their values, as both sides have them now; they may be secret")
	}
	return command
}
