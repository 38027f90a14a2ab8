package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"strangler/capability"
	"strangler/internal/config"
	"strangler/internal/postgres"
)

func (c *cli) dataOrphans() *cobra.Command {
	var drop string
	var dryRun bool
	command := &cobra.Command{
		Use:   "orphans",
		Short: "List what moves have left behind that no document and no record knows any more",
		Long: `Looks into every database that config.yaml and the documents name for slots,
publications, origins, triggers, gates and records of capabilities that are in no
document. A slot among them keeps log until the disk is full. Needs no strangler that
runs.

--drop NAME removes all that is named for that capability. What is in use is
refused, and so is a gate that is shut, and whatever a record of a move knows.`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if dryRun && drop == "" {
				return misread(cmd, "--dry-run belongs to --drop NAME")
			}
			settings, err := c.settings()
			if err != nil {
				return err
			}
			o, err := findOrphans(cmd.Context(), settings)
			if err != nil {
				return err
			}
			defer o.close()
			if drop != "" {
				return c.dropOrphans(cmd.Context(), o, drop, dryRun)
			}
			return c.showOrphans(o)
		},
	}
	command.Flags().StringVar(&drop, "drop", "", "remove what is named for this capability")
	command.Flags().BoolVar(&dryRun, "dry-run", false, "print the statements of --drop; change nothing")
	return command
}

// orphans is what is left of moves that nobody knows, and where.
type orphans struct {
	databases []*postgres.Database
	left      []leftover
	known     []string // capabilities that a document, a state or a record knows
}

// leftover is one of them and its database.
type leftover struct {
	postgres.Leftover
	in *postgres.Database
}

func (o *orphans) close() {
	for _, d := range o.databases {
		d.Close()
	}
}

func (o *orphans) knows(name string) bool {
	return slices.ContainsFunc(o.known, func(k string) bool { return postgres.SameCapability(k, name) })
}

// findOrphans looks into every database that is configured. Where a document
// cannot be read, nobody can tell whose something is.
func findOrphans(ctx context.Context, settings config.Config) (*orphans, error) {
	contents, dir, err := readDocuments(ctx, settings)
	if err != nil {
		return nil, err
	}
	docs, problems := newDecode()(dir, contents)
	if len(problems) > 0 {
		return nil, fmt.Errorf("a document cannot be read, so nobody can tell what is an orphan; mend it first: %w", problems[0])
	}
	s, err := newStore(settings, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	states, err := s.Effective(ctx)
	if err != nil {
		return nil, err
	}
	o := &orphans{}
	for name, state := range states {
		if state.Epoch > 0 && state.Retired.IsZero() {
			o.known = append(o.known, name)
		}
	}
	if err := o.look(ctx, settings, docs); err != nil {
		o.close()
		return nil, err
	}
	return o, nil
}

func (o *orphans) look(ctx context.Context, settings config.Config, docs []capability.Document) error {
	type place struct {
		side capability.Side
		dsn  string
	}
	var places []place
	if settings.Legacy.Database != "" {
		places = append(places, place{capability.Legacy, settings.Legacy.Database})
	}
	for _, doc := range docs {
		o.known = append(o.known, doc.Name)
		if doc.Data != nil {
			places = append(places, place{capability.Extracted, doc.Data.Database})
		}
	}
	var all []leftover
	for _, p := range places {
		d, err := postgres.Open(ctx, p.side, p.dsn)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(o.databases, func(other *postgres.Database) bool { return other.Name() == d.Name() }) {
			d.Close()
			continue
		}
		o.databases = append(o.databases, d)
		found, err := d.Leftovers(ctx)
		if err != nil {
			return err
		}
		for _, l := range found {
			all = append(all, leftover{l, d})
			if l.Kind == postgres.LeftMove {
				o.known = append(o.known, l.Capability)
			}
		}
	}
	for _, l := range all {
		// An origin alone costs nothing, and may be of another database of the cluster.
		company := slices.ContainsFunc(all, func(other leftover) bool {
			return other.Kind != postgres.LeftOrigin && postgres.SameCapability(other.Capability, l.Capability)
		})
		if company && !o.knows(l.Capability) {
			o.left = append(o.left, l)
		}
	}
	slices.SortStableFunc(o.left, func(a, b leftover) int {
		return cmp.Compare(strings.ReplaceAll(a.Capability, "-", "_"), strings.ReplaceAll(b.Capability, "-", "_"))
	})
	return nil
}

func (c *cli) showOrphans(o *orphans) error {
	if c.json {
		list := []postgres.Leftover{}
		for _, l := range o.left {
			list = append(list, l.Leftover)
		}
		return c.out.json(list)
	}
	for _, l := range o.left {
		line := fmt.Sprintf("%s  %s %s in %s", c.out.bold(l.Capability), l.Kind, l.Name, l.Database)
		if l.Keep != "" {
			line += ": " + c.out.yellow(l.Keep)
		}
		c.out.line(line)
	}
	if len(o.left) == 0 {
		c.out.line("nothing is left of a move that nobody knows")
		return nil
	}
	c.out.line("to remove what is named for one: strangler data orphans --drop NAME")
	return nil
}

// dropOrphans removes what is named for one capability, or nothing where some of
// it must stay.
func (c *cli) dropOrphans(ctx context.Context, o *orphans, name string, dry bool) error {
	if o.knows(name) {
		return fmt.Errorf("%s is no orphan: a document, or a record of its move, knows it; take the move back with: strangler data reset %s", name, name)
	}
	mine := slices.DeleteFunc(slices.Clone(o.left), func(l leftover) bool { return !postgres.SameCapability(l.Capability, name) })
	if len(mine) == 0 {
		return fmt.Errorf("nothing is named for %s in the databases that are configured; see: strangler data orphans", name)
	}
	var kept []error
	for _, l := range mine {
		if l.Keep != "" {
			kept = append(kept, fmt.Errorf("%s %s in %s: %s", l.Kind, l.Name, l.Database, l.Keep))
		}
	}
	if len(kept) > 0 {
		return fmt.Errorf("nothing was dropped: %w", errors.Join(kept...))
	}
	for _, l := range mine {
		if dry {
			c.out.line(fmt.Sprintf("%s; -- in %s", l.Drop, l.Database))
			continue
		}
		if err := l.in.DropLeftover(ctx, l.Leftover); err != nil {
			return err
		}
		c.out.line(fmt.Sprintf("%s dropped %s %s in %s", c.out.green("✓"), l.Kind, l.Name, l.Database))
	}
	if dry {
		c.out.line("nothing was changed; leave out --dry-run to do it")
		return nil
	}
	for _, d := range o.databases {
		if err := d.Uninstall(ctx); err != nil {
			return err
		}
	}
	return nil
}

// orphanWarnings are the orphans, one for each capability that has left some.
func orphanWarnings(ctx context.Context, settings config.Config) []capability.Problem {
	o, err := findOrphans(ctx, settings)
	if err != nil {
		return nil // whatever it is, it is among the problems
	}
	defer o.close()
	var warnings []capability.Problem
	for i, l := range o.left {
		if i > 0 && postgres.SameCapability(o.left[i-1].Capability, l.Capability) {
			continue
		}
		mine := 0
		for _, other := range o.left {
			if postgres.SameCapability(other.Capability, l.Capability) {
				mine++
			}
		}
		warnings = append(warnings, capability.Problem{File: settings.File, Path: "legacy.database", Value: l.Capability,
			Message: fmt.Sprintf("is in no document, and has left %s in the databases, such as %s %s", count(mine, "thing", "things"), l.Kind, l.Name),
			Mend:    "strangler data orphans --drop " + l.Capability})
	}
	return warnings
}
