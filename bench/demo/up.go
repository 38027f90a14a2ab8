package main

import (
	"context"
	"path/filepath"
	"time"

	"bench/shoppers"
)

// up sets the stage, says where everything is, and holds it until ctx ends or something on it dies.
func (s *story) up(ctx context.Context) error {
	if err := s.run(ctx, setting); err != nil {
		return err
	}
	if s.options.load {
		if err := s.startLoad(ctx); err != nil {
			return err
		}
		defer s.stopLoad()
	}
	s.explain()
	s.hold(ctx)
	s.say.line("\nStopping everything.")
	return context.Cause(ctx)
}

func (s *story) explain() {
	config := filepath.Join(s.dir, "config.yaml")
	say := s.say
	say.step("yours")
	say.say("shop       %s   (sign in as %s, password %s)", s.stage.Proxy(), shoppers.Email(1), shoppers.Password)
	say.say("strangler  %s   (API and metrics)", s.stage.Admin())
	say.say("legacy     %s", s.stage.Legacy())
	say.say("extracted  %s", s.stage.Extracted())
	say.say("logs       %s", s.stage.Logs())
	say.step("type, in another terminal")
	for _, line := range []string{"data start orders", "data verify orders", "weight orders 10%", "cutover orders", "rollback orders"} {
		say.say("bin/strangler -c %s %s", config, line)
	}
	say.line("\nCtrl-C stops all of this and nothing else.")
}

// hold blocks until ctx ends, and tells how the shoppers fare where there are any.
func (s *story) hold(ctx context.Context) {
	tell := time.NewTicker(10 * time.Second)
	defer tell.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tell.C:
			if s.load != nil {
				c := s.load.Record().Counts()
				s.say.say("%s requests, %s acknowledged writes, %d failed, %d stale", count(c.Requests), count(c.Acknowledged), c.Failed, c.Stale)
			}
		}
	}
}
