package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"strangler/capability"
	"strangler/internal/api"
	"strangler/internal/config"
)

func (c *cli) up() *cobra.Command {
	return &cobra.Command{
		Use:   "up",
		Short: "Run proxy and controller in one process: the default on one machine",
		Long: `Checks everything first and lists every problem at once. Databases and upstreams
that do not answer keep a first start from serving; once capabilities have a
recorded state they are warnings, because a restart must not become an outage.`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, err := c.build(cmd.Context(), true, func(*config.Config) {})
			if err != nil {
				return err
			}
			defer p.close()
			if err := c.admit(cmd.Context(), p); err != nil {
				return err
			}
			brain := p.newBrain()
			plane, err := p.newPlane(brain)
			if err != nil {
				return err
			}
			c.errs.line(fmt.Sprintf("strangler: clients at %s, admin at %s; Ctrl-C ends it", p.settings.Listen, p.adminURL()))
			return c.inOrder(cmd.Context(), p, plane, brain.run)
		},
	}
}

func (c *cli) proxy() *cobra.Command {
	var listen, admin, asks string
	command := &cobra.Command{
		Use:   "proxy",
		Short: "Run a proxy alone, one of many",
		Long: `Serves clients and decides nothing: weights, owners and data are the controller's,
which it finds in the store (files that both reach, or Consul). Start it on
documents that are broken, and their last good version is served, if there is one.`,
		Example: "  strangler proxy --listen :8080 --admin 10.0.0.5:8090 --controller 10.0.0.4:8090",
		Args:    exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, err := c.build(cmd.Context(), true, func(s *config.Config) {
				if asks == "" {
					asks = reachable(s.Admin)
				}
				override(&s.Listen, listen)
				override(&s.Admin, admin)
			})
			if err != nil {
				return err
			}
			defer p.close()
			if err := c.admitDocuments(cmd.Context(), p); err != nil {
				return err
			}
			marks := api.NewClient(asks, "proxy")
			defer marks.Close()
			plane, err := p.newPlane(marks)
			if err != nil {
				return err
			}
			return c.inOrder(cmd.Context(), p, plane)
		},
	}
	command.Flags().Var(listening(&listen), "listen", "address for clients, instead of the one in the configuration")
	command.Flags().Var(listening(&admin), "admin", "admin address of this proxy, instead of the one in the configuration")
	command.Flags().Var(reaching(&asks), "controller", "admin address of the controller (default: admin of the configuration)")
	return command
}

func (c *cli) controller() *cobra.Command {
	var admin string
	command := &cobra.Command{
		Use:   "controller",
		Short: "Run the controller alone; a second one waits until the first is gone",
		Long: `Moves data, sets weights and carries out switches; serves no clients. Without it the
proxies go on with the last state that they have.`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, err := c.build(cmd.Context(), false, func(s *config.Config) { override(&s.Admin, admin) })
			if err != nil {
				return err
			}
			defer p.close()
			if err := c.admitDocuments(cmd.Context(), p); err != nil {
				return err
			}
			return together(cmd.Context(), p.serveAdmin, p.discover, p.newBrain().run)
		},
	}
	command.Flags().Var(listening(&admin), "admin", "admin address of this controller, instead of the one in the configuration")
	return command
}

func override(setting *string, value string) {
	if value != "" {
		*setting = value
	}
}

// inOrder runs a proxy and what goes with it. At the end the proxy drains first:
// until its last write is answered, the controller must go on answering marks. Before
// that, a hand-over that is under way is given up.
func (c *cli) inOrder(ctx context.Context, p *parts, plane *plane, more ...func(context.Context) error) error {
	rest, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	serving, drain := context.WithCancel(rest)
	defer drain()
	done := make(chan error, 1)
	go func() {
		done <- together(rest, append(more, p.serveAdmin, p.discover, func(rest context.Context) error { return p.handOver(rest, ctx, drain) })...)
	}()
	served := make(chan error, 1)
	go func() { served <- plane.run(serving) }()
	select {
	case err := <-served:
		stop()
		return firstOf(err, <-done)
	case err := <-done:
		drain()
		return firstOf(err, <-served)
	}
}

// firstOf leaves out what a stop that came early has interrupted.
func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil && !errors.Is(err, context.Canceled) {
			return err
		}
	}
	return nil
}

// discover runs the discovery where there is one.
func (p *parts) discover(ctx context.Context) error {
	if p.discovery == nil {
		<-ctx.Done()
		return nil
	}
	return p.discovery.Run(ctx)
}

// admitDocuments refuses to start on documents that are broken and have no last
// good version.
func (c *cli) admitDocuments(ctx context.Context, p *parts) error {
	_, problems, err := p.documents(ctx)
	if err != nil {
		return err
	}
	states, err := p.store.Effective(ctx)
	if err != nil {
		return err
	}
	if len(problems) > 0 && len(states) == 0 {
		return c.unserved(problems)
	}
	c.warn(problems)
	return nil
}

// admit checks everything before up serves anything.
func (c *cli) admit(ctx context.Context, p *parts) error {
	docs, problems, err := p.documents(ctx)
	if err != nil {
		return err
	}
	states, err := p.store.Effective(ctx)
	if err != nil {
		return err
	}
	if len(states) == 0 {
		if problems, _ := c.everything(ctx); len(problems) > 0 {
			return c.unserved(problems)
		}
		return nil
	}
	c.warn(append(problems, c.outside(ctx, p.settings, docs)...))
	return nil
}

// unserved prints why nothing is served.
func (c *cli) unserved(problems []capability.Problem) error {
	_ = c.said(problems) // the next line ends what it says
	return fmt.Errorf("%s; nothing is served", count(len(problems), "problem", "problems"))
}

func (c *cli) warn(problems []capability.Problem) {
	for _, p := range problems {
		c.errs.line(c.errs.yellow("warning: ") + p.String())
	}
}
