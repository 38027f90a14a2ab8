package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"strangler/capability"
	"strangler/internal/api"
	"strangler/proxy"
	"strangler/proxy/breaker"
	"strangler/proxy/pool"
)

func (c *cli) status() *cobra.Command {
	var watch bool
	command := &cobra.Command{
		Use:   "status [CAPABILITY]",
		Short: "Show owner, weight, breakers, data, and whether a switch or the way back is possible now",
		Args:  atMostOne,
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := c.client()
			if err != nil {
				return err
			}
			defer client.Close()
			for {
				if err := c.showStatus(cmd.Context(), client, args); err != nil || !watch {
					return c.reach(err)
				}
				select {
				case <-cmd.Context().Done():
					return nil
				case <-time.After(time.Second):
				}
			}
		},
	}
	command.Flags().BoolVarP(&watch, "watch", "w", false, "show it again every second")
	return command
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
		return err
	}
	var at reported
	// A controller without a proxy has none to show.
	_ = errors.Join(client.Get(ctx, "/proxy/breakers", &at.breakers), client.Get(ctx, "/proxy/endpoints", &at.endpoints))
	if c.json {
		shown := make([]shownStatus, 0, len(all))
		for _, s := range all {
			shown = append(shown, at.of(s))
		}
		if len(args) == 1 {
			return c.out.json(shown[0])
		}
		return c.out.json(shown)
	}
	for i, s := range all {
		if i > 0 {
			c.out.line("")
		}
		c.capability(s, at)
	}
	if len(args) == 1 {
		return nil
	}
	return c.strayProblems(ctx, client, all)
}

// strayProblems prints what is wrong with documents that belong to none of the
// capabilities: new ones that were never good.
func (c *cli) strayProblems(ctx context.Context, client *api.Client, all []capability.Status) error {
	problems, err := client.Problems(ctx)
	if err != nil {
		return err
	}
	for _, p := range problems {
		shown := slices.ContainsFunc(all, func(s capability.Status) bool { return slices.Contains(s.Problems, p) })
		if !shown {
			c.out.line(c.out.red("document: ") + p.String())
		}
	}
	return nil
}

// capability prints one capability for a person.
func (c *cli) capability(s capability.Status, at reported) {
	e, p := s.Effective, c.out
	owner := fmt.Sprintf("owner %s", e.Owner)
	if !e.Since.IsZero() && e.HasData {
		owner += " since " + e.Since.Local().Format("2006-01-02 15:04:05")
	}
	p.line(p.bold(s.Capability) + "  " + owner + ", weight " + e.Weight.String())
	if e.Phase == capability.Switching {
		p.line("  " + p.yellow("switching: writes are held"))
	}
	if e.Refused != "" {
		p.line("  " + p.red("refused: ") + e.Refused)
	}
	for _, problem := range s.Problems {
		p.line("  " + p.red("document: ") + problem.String())
	}
	c.dataLines(s.Data)
	if e.HasData {
		p.line("  switch    " + s.Switch.Summary)
	}
	c.planeLines(s.Capability, at)
	for _, v := range s.Proxies {
		p.line(fmt.Sprintf("  proxy     %s serves revision %d, %d writes in flight, %d held", v.Proxy, v.Revision, v.Writes, v.Held))
	}
	for _, m := range s.Missing {
		p.line("  proxy     " + p.red(m+" does not answer"))
	}
}

// reported is what a proxy says of its upstreams.
type reported struct {
	breakers  []proxy.BreakerInfo
	endpoints []proxy.EndpointInfo
}

// shownStatus is a capability's status with what the proxy says of its upstreams.
type shownStatus struct {
	capability.Status
	Breakers  []proxy.BreakerInfo  `json:"breakers,omitempty"`
	Endpoints []proxy.EndpointInfo `json:"endpoints,omitempty"` // of the extracted side
}

func (r reported) of(s capability.Status) shownStatus {
	out := shownStatus{Status: s}
	for _, b := range r.breakers {
		if b.Capability == s.Capability {
			out.Breakers = append(out.Breakers, b)
		}
	}
	for _, e := range r.endpoints {
		if e.Capability == s.Capability {
			out.Endpoints = append(out.Endpoints, e)
		}
	}
	return out
}

// planeLines prints what is not as it should be between proxy and upstreams.
func (c *cli) planeLines(name string, at reported) {
	p := c.out
	for _, b := range at.breakers {
		if b.Capability != name || b.State == breaker.Closed && b.Mode == capability.BreakerEnforce {
			continue
		}
		line := fmt.Sprintf("%s is %s", b.Side, b.State)
		if b.Reason != "" {
			line += fmt.Sprintf(" since %s: %s", b.Since.Local().Format("15:04:05"), b.Reason)
		}
		if b.Remaining > 0 {
			line += fmt.Sprintf("; a trial in %s", short(b.Remaining))
		}
		switch b.Mode {
		case capability.BreakerObserve:
			line += " (observe: everything passes)"
		case capability.BreakerDisabled:
			line += " (disabled)"
		}
		if b.State != breaker.Closed {
			line = p.red(line)
		}
		p.line("  breaker   " + line)
	}
	for _, e := range at.endpoints {
		if e.Capability == name && e.State != pool.Healthy {
			p.line("  endpoint  " + p.red(fmt.Sprintf("%s is %s since %s: %s", e.Address, e.State, e.Since.Local().Format("15:04:05"), e.Why)))
		}
	}
}

func (c *cli) dataLines(d capability.DataStatus) {
	p := c.out
	if d.Phase == capability.PhaseNone && d.Error == "" {
		return
	}
	p.line("  data      " + string(d.Phase))
	if d.Error != "" {
		p.line("            " + p.red(d.Error))
	}
	if b := d.Backfill; b != nil && d.Phase == capability.PhaseBackfill {
		line := fmt.Sprintf("%s %d of about %d rows, %.0f rows/s, %s", bar(b.Rows, b.Total), b.Rows, b.Total, b.PerSecond, b.Table)
		if b.Throttled != "" {
			line += " (throttled: " + b.Throttled + ")"
		}
		p.line("  backfill  " + line)
	}
	for _, s := range d.Streams {
		state := p.green("live")
		if !s.Live {
			state = p.red("down " + s.Error)
		}
		p.line(fmt.Sprintf("  stream    %s → %s %s, lag %s / %s, %d changes applied, %d keys to compare", s.From, s.From.Other(), state, size(s.LagBytes), short(s.Lag), s.Changes, s.Changed))
	}
	if v := d.Verify; v != nil {
		c.verifyLine(*v)
	}
	for _, side := range capability.Sides {
		if g, ok := d.Gates[side]; ok {
			p.line(fmt.Sprintf("  gate      %-9s %s at epoch %d since %s", side, g.State, g.Epoch, g.Since.Local().Format("15:04:05")))
		}
	}
}

func (c *cli) verifyLine(v capability.VerifyStatus) {
	p := c.out
	switch {
	case v.Running:
		p.line(fmt.Sprintf("  verify    running: %d of about %d rows", v.Rows, v.Total))
	case v.Error != "":
		p.line("  verify    " + p.red(v.Error))
	case v.Count > 0:
		p.line("  verify    " + p.red(fmt.Sprintf("%d of %d rows differ", v.Count, v.Rows)))
	case !v.FinishedAt.IsZero():
		p.line(fmt.Sprintf("  verify    %d rows equal, %s ago", v.Rows, short(time.Since(v.FinishedAt).Round(time.Second))))
	}
	for _, m := range v.Mismatches {
		p.line(fmt.Sprintf("            %s %s: %s", m.Table, m.Key, m.Detail))
	}
	if len(v.Skipped) > 0 {
		p.line("            not compared: " + strings.Join(v.Skipped, "; "))
	}
}
