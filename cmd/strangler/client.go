package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"

	"strangler/capability"
	"strangler/internal/api"
	"strangler/internal/config"
)

// settings reads config.yaml and prints every problem of it.
func (c *cli) settings() (config.Config, error) {
	settings, problems := config.Load(c.config)
	if len(problems) > 0 {
		return settings, c.said(problems)
	}
	return settings, nil
}

// client reaches the running process that config.yaml names.
func (c *cli) client() (*api.Client, error) {
	settings, err := c.settings()
	if err != nil {
		return nil, err
	}
	return api.NewClient(reachable(settings.Admin), actor()), nil
}

// reachable turns an address to listen at into one to connect to.
func reachable(listen string) string {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return listen
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}

// said prints problems, one a line, and returns the error that says so.
func (c *cli) said(problems []capability.Problem) error {
	for _, p := range problems {
		c.errs.line(p.String())
	}
	return errSaid
}

// reach adds to an error what to do when nobody answered.
func (c *cli) reach(err error) error {
	if errors.Is(err, api.ErrUnreachable) {
		return fmt.Errorf("%w; start it with: strangler up -c %s", err, c.config)
	}
	return err
}

// leftError is a command that its caller did not wait for.
type leftError struct{ goesOn string }

func (e leftError) Error() string { return "interrupted: " + e.goesOn }

// leave says what becomes of a command whose caller goes away, and otherwise what
// reach says.
func (c *cli) leave(ctx context.Context, err error, goesOn, name string) error {
	if err == nil || ctx.Err() == nil {
		return c.reach(err)
	}
	return leftError{goesOn + "; see: strangler status " + name}
}

// plainly is why an admin address was not reached, for a sentence that names the
// address already; any other error is as it was.
func plainly(err error) error {
	if unreachable := new(api.UnreachableError); errors.As(err, &unreachable) {
		return unreachable.Cause
	}
	return err
}

// silent names the proxies that are registered and did not answer: what has just
// been done may be news to them.
func (c *cli) silent(s capability.Status) {
	for _, m := range s.Missing {
		c.errs.line(c.errs.yellow("warning: ") + m + " does not answer, and may serve what was before")
	}
}

// follow prints the progress of a command as it comes.
func (c *cli) follow() func(capability.Progress) {
	return func(p capability.Progress) {
		if c.json {
			return // the result is the answer
		}
		name := string(p.Step)
		switch p.State {
		case "started":
			c.out.progress(fmt.Sprintf("  … %-10s %s", name, p.Message))
		case "done":
			c.out.line(fmt.Sprintf("  %s %-10s %s (%s)", c.out.green("✓"), name, p.Message, short(p.Took)))
		case "failed":
			c.out.line(fmt.Sprintf("  %s %-10s %s", c.out.red("✗"), name, p.Message))
		case "undone":
			c.out.line(fmt.Sprintf("  %s %-10s %s", c.out.yellow("↩"), name, p.Message))
		case "planned":
			c.out.line(fmt.Sprintf("  · %-10s %s", name, p.Message))
		default:
			c.counted(p)
		}
	}
}

// counted prints the progress of work that has a length.
func (c *cli) counted(p capability.Progress) {
	if p.State == "catching up:" {
		c.out.progress("  " + p.State + " " + p.Message)
		return
	}
	if p.Total == 0 {
		c.out.line("  " + strings.TrimSpace(p.State+" "+p.Message))
		return
	}
	rate := ""
	if s := p.Took.Seconds(); s > 0 {
		rate = fmt.Sprintf(", %.0f rows/s", float64(p.Done)/s)
	}
	c.out.progress(fmt.Sprintf("  %s %s %d of %d rows%s %s", p.State, bar(p.Done, p.Total), p.Done, p.Total, rate, p.Message))
}
