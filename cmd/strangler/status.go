package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"strangler/capability"
	"strangler/internal/api"
	"strangler/internal/documents"
)

func (c *cli) status() *cobra.Command {
	var watch bool
	command := &cobra.Command{
		Use:   "status [CAPABILITY]",
		Short: "Show owner, weight, breakers, data, and whether a switch or the way back is possible now",
		Long: `What the lines mean:

  refused    what the document asks for and why it is not so
  document   what is wrong with it, while its last good version is served
  data       none, preparing, backfill, following (both streams run), paused, failed
  stream     one direction: how far behind, and rows written since they were compared
  verify     the last comparison of all rows
  gate       which of the two databases takes writes: open, closing or sealed
  switch     whether cutover or rollback would succeed now, or why not
  proxy      what it serves; its breakers: closed, half-open or open, since when, why
  endpoint   one that is not well`,
		Args: atMostOne,
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := c.client()
			if err != nil {
				return err
			}
			defer client.Close()
			if watch {
				return c.watchStatus(cmd.Context(), client, args)
			}
			return c.reach(c.showStatus(cmd.Context(), client, args))
		},
	}
	command.Flags().BoolVarP(&watch, "watch", "w", false, "show it again every second")
	return command
}

// watchStatus shows the status every second until the context ends. A process that
// is started anew meanwhile does not end it.
func (c *cli) watchStatus(ctx context.Context, client *api.Client, args []string) error {
	for {
		c.out.clear()
		err := c.reach(c.showStatus(ctx, client, args))
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, api.ErrUnreachable):
			c.errs.line(c.errs.red("error: ") + err.Error())
		case err != nil:
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Second):
		}
	}
}

func (c *cli) showStatus(ctx context.Context, client *api.Client, args []string) error {
	var all []capability.Status
	var err error
	if len(args) == 1 {
		var one capability.Status
		one, err = client.Capability(ctx, args[0])
		all = append(all, one)
	} else {
		all, err = client.Capabilities(ctx)
	}
	if err != nil {
		if errors.Is(err, api.ErrNotLeading) && !c.json {
			c.withoutController(ctx, client, strings.Join(args, ""))
		}
		return err
	}
	reported, err := client.Upstreams(ctx)
	if err != nil {
		// Whoever looks because the store is away must see the rest.
		c.errs.line(c.errs.red("the proxies are not known: ") + err.Error())
	}
	if c.json {
		list := make([]shownStatus, 0, len(all))
		for _, s := range all {
			list = append(list, shown(s, reported))
		}
		if len(args) == 1 {
			return c.out.json(list[0])
		}
		return c.out.json(list)
	}
	for i, s := range all {
		if i > 0 {
			c.out.line("")
		}
		c.capability(s, reported)
	}
	if len(args) == 1 {
		// What is wrong with the store concerns it, too; another document does not.
		return c.strayProblems(ctx, client, all, func(p capability.Problem) bool { return !documents.IsDocument(filepath.Base(p.File)) })
	}
	if len(all) == 0 {
		c.out.line("no document describes a capability: everything goes to the monolith")
	}
	c.monolithLines(reported)
	return c.strayProblems(ctx, client, all, func(capability.Problem) bool { return true })
}

// strayProblems prints the problems, of those wanted, that belong to none of the
// capabilities: of new documents that were never good, and of the store.
func (c *cli) strayProblems(ctx context.Context, client *api.Client, all []capability.Status, wanted func(capability.Problem) bool) error {
	problems, err := client.Problems(ctx)
	if err != nil {
		return err
	}
	for _, p := range problems {
		shown := slices.ContainsFunc(all, func(s capability.Status) bool { return slices.Contains(s.Problems, p) })
		if !shown && wanted(p) {
			c.out.line(c.out.red("document: ") + p.String())
		}
	}
	return nil
}

// capability prints one capability for a person.
func (c *cli) capability(s capability.Status, reported []api.Reported) {
	e, p := s.Effective, c.out
	owner := fmt.Sprintf("owner %s", e.Owner)
	if !e.Retired.IsZero() {
		owner += ", retired since " + e.Retired.Local().Format(time.DateTime)
	} else if !e.Since.IsZero() && e.HasData {
		owner += " since " + e.Since.Local().Format(time.DateTime)
	}
	p.line(p.bold(s.Capability) + "  " + owner + ", weight " + e.Weight.String())
	if e.Phase == capability.Switching {
		p.entry("phase", p.yellow("switching: writes are held"))
	}
	if e.Refused != "" {
		p.entry("refused", p.red(e.Refused))
	}
	for _, problem := range s.Problems {
		p.entry("document", p.red(problem.String()))
	}
	c.dataLines(s.Data)
	if e.HasData {
		p.entry("switch", s.Switch.Summary)
	}
	c.proxyLines(s, reported)
}

func (c *cli) dataLines(d capability.DataStatus) {
	p := c.out
	if d.Phase == capability.PhaseNone && d.Error == "" {
		return
	}
	p.entry("data", string(d.Phase))
	if d.Error != "" {
		p.entry("", p.red(d.Error))
	}
	if b := d.Backfill; b != nil && d.Phase == capability.PhaseBackfill {
		p.entry("backfill", backfillLine(*b))
		for _, t := range b.Tables {
			p.entry("", fmt.Sprintf("%s %s of %s, %d rows, %s", bar(t.Done, t.Size), size(uint64(max(t.Done, 0))), size(uint64(max(t.Size, 0))), t.Rows, t.Table))
		}
	}
	if b := d.Completion; b != nil {
		line := fmt.Sprintf("%s %d of %d", bar(int64(b.Built), int64(b.Total)), b.Built, b.Total)
		if b.Building != "" {
			line += ", " + b.Building
		}
		p.entry("indexes", line)
	}
	for _, s := range d.Streams {
		state := p.green("live")
		if !s.Live {
			state = p.red("down " + s.Error)
		}
		p.entry("stream", fmt.Sprintf("%s → %s %s, lag %s / %s, %d changes applied, %d keys to compare, %s", s.From, s.From.Other(), state, size(s.LagBytes), short(s.Lag), s.Changes, s.Changed, kept(s)))
	}
	if v := d.Verify; v != nil {
		c.verifyLine(*v)
	}
	for _, side := range capability.Sides {
		if g, ok := d.Gates[side]; ok {
			line := fmt.Sprintf("%-9s  %s at epoch %d since %s", side, g.State, g.Epoch, clock(g.Since))
			refused := d.Refused[side]
			if refused.Count > 0 {
				line += p.yellow(fmt.Sprintf(", has refused %d writes past the proxy or of kept streams", refused.Count))
			}
			p.entry("gate", line)
			c.refusedWriters(refused)
		}
	}
}

// refusedWriters prints whom a gate has refused.
func (c *cli) refusedWriters(r capability.Refusals) {
	for _, w := range r.Writers {
		c.out.entry("", fmt.Sprintf("%s, %s: %d, the last at %s", cmp.Or(w.Application, "(no application_name)"), w.Role, w.Refused, clock(w.Last)))
	}
}

// kept is what the source keeps for a stream.
func kept(s capability.StreamStatus) string {
	text := size(uint64(max(s.Retained, 0))) + " kept by the source"
	if s.Headroom >= 0 {
		text += ", which gives it up after " + size(uint64(s.Headroom)) + " more"
	}
	return text
}

// backfillLine is how far a copy is, by what the tables have on disk.
func backfillLine(b capability.BackfillStatus) string {
	line := fmt.Sprintf("%s %s of %s, %d of about %d rows, %.0f rows/s", bar(b.Done, b.Size), size(uint64(max(b.Done, 0))), size(uint64(max(b.Size, 0))), b.Rows, b.Total, b.PerSecond)
	if b.Left > 0 {
		line += ", " + short(b.Left) + " left"
	}
	if b.Retained > 0 {
		line += ", " + size(uint64(b.Retained)) + " kept by the source meanwhile"
	}
	if b.Throttled != "" {
		line += " (throttled: " + b.Throttled + ")"
	}
	return line
}

func (c *cli) verifyLine(v capability.VerifyStatus) {
	p := c.out
	switch {
	case v.Running:
		line := fmt.Sprintf("running%s: %d of about %d rows", byMethod(v.Method), v.Rows, v.Total)
		if v.Throttled != "" {
			line += " (throttled: " + v.Throttled + ")"
		}
		p.entry("verify", line)
	case v.Error != "":
		p.entry("verify", p.red(v.Error))
	case v.Count > 0:
		p.entry("verify", p.red(fmt.Sprintf("%d of %d rows differ%s", v.Count, v.Rows, byMethod(v.Method))))
	case !v.FinishedAt.IsZero():
		p.entry("verify", fmt.Sprintf("%d rows equal%s, %s ago", v.Rows, byMethod(v.Method), short(time.Since(v.FinishedAt).Round(time.Second))))
	}
	for _, m := range v.Mismatches {
		p.entry("", fmt.Sprintf("%s %s: %s", m.Table, m.Key, m.Detail))
	}
	if len(v.Skipped) > 0 {
		p.entry("", "not compared: "+strings.Join(v.Skipped, "; "))
	}
}

// byMethod is how rows were compared, behind what came of it.
func byMethod(m capability.VerifyMethod) string {
	switch m {
	case capability.BySnapshots:
		return " (by paired snapshots)"
	case capability.ByRecheck:
		return " (by recheck)"
	}
	return ""
}
