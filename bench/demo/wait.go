package main

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// command types one strangler command and shows what it says.
func (s *story) command(ctx context.Context, args ...string) error {
	s.say.command("strangler " + strings.Join(args, " "))
	return s.stage.Type(ctx, s.say.output, args...)
}

// let lets the shoppers shop for a while.
func (s *story) let(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}

// until waits for something to become true; what is the thing waited for, for the error.
func (s *story) until(ctx context.Context, patience time.Duration, what string, true func() bool) error {
	late := time.NewTimer(patience)
	defer late.Stop()
	look := time.NewTicker(100 * time.Millisecond)
	defer look.Stop()
	for !true() {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-late.C:
			return fmt.Errorf("waited %s in vain for %s", patience, what)
		case <-look.C:
		}
	}
	return nil
}
