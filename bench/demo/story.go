package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"bench/check"
	"bench/shoppers"
	"bench/stage"
)

// story is one run of the demonstration.
type story struct {
	options
	stage *stage.Stage
	say   *narrator

	databases *check.Databases
	baseline  check.Baseline
	load      *shoppers.Load
	stopLoad  func() // and wait until everybody has an answer
	rows      int64
	rowsPerS  float64
	switches  []crossed
}

// scene is one part of the story: a title for the audience, and what happens. It returns what has become true.
type scene struct {
	title string
	play  func(*story, context.Context) (string, error)
}

var setting = []scene{
	{"two PostgreSQL clusters, with logical WAL and fsync", (*story).startDatabases},
	{"a shop with a past", (*story).fillShop},
	{"the monolith, two services that nobody uses yet, and strangler in front", (*story).startPrograms},
}

var plot = []scene{
	{"shoppers: an open loop, no retries; every write is remembered, and read back", (*story).sendShoppers},
	{"backfill under load, throttled so that it can be watched", (*story).backfill},
	{"following: every committed write reaches the other database as well", (*story).follow},
	{"verify: every row, exactly, under live writes", (*story).verify},
	{"one reader in ten reads from the service", (*story).shiftReads},
	{"the service is killed with SIGKILL while it answers a tenth of the reads", (*story).killService},
	{"the service comes back", (*story).reviveService},
	{"all readers read from the service, which so is warm when it gets the writes", (*story).shiftAllReads},
	{"cutover under load", func(s *story, ctx context.Context) (string, error) { return s.cross(ctx, "cutover", "extracted") }},
	{"5,000 requests on the service", (*story).useService},
	{"rollback under load", func(s *story, ctx context.Context) (string, error) { return s.cross(ctx, "rollback", "legacy") }},
	{"cutover again", func(s *story, ctx context.Context) (string, error) { return s.cross(ctx, "cutover", "extracted") }},
	{"the shoppers go home", (*story).sendHome},
	{"what strangler says about it", (*story).showStatus},
}

// play tells the whole story. The error says what was not as it must be.
func (s *story) play(ctx context.Context) (err error) {
	s.say.line(s.say.paint(bold, "A monolith loses its orders, traffic and data, under load; and gets them back; and loses them again."))
	s.say.line("Everything is in " + s.dir + ", logs in " + s.stage.Logs())
	began := time.Now()
	defer func() {
		if s.load != nil {
			s.stopLoad()
			err = errors.Join(err, s.writeTimeline())
		}
		if s.databases != nil {
			s.databases.Close()
		}
	}()
	if err := s.run(ctx, append(append([]scene{}, setting...), plot...)); err != nil {
		s.confess()
		return err
	}
	if err := s.judge(ctx); err != nil {
		return err
	}
	s.say.line(fmt.Sprintf("\nAll of it in %s. The report is in %s.", time.Since(began).Round(time.Second), s.report))
	return nil
}

func (s *story) run(ctx context.Context, scenes []scene) error {
	for _, scene := range scenes {
		s.say.step(scene.title)
		began := time.Now()
		became, err := scene.play(s, ctx)
		s.say.endProgress()
		if err != nil {
			if cause := context.Cause(ctx); cause != nil {
				err = cause // what ended the context is why the scene failed
			}
			return fmt.Errorf("%s: %w", scene.title, err)
		}
		s.say.done(time.Since(began), "%s", became)
	}
	return nil
}

// shownFaults is how many are enough to see what is wrong.
const shownFaults = 10

// confess shows what went wrong for the shoppers.
func (s *story) confess() {
	if s.load == nil {
		return
	}
	faults := s.load.Record().Faults()
	for _, fault := range faults[:min(shownFaults, len(faults))] {
		s.say.say("%s", s.say.paint(red, fault))
	}
}

// settled is how long the last changes and sagas may take to arrive once nobody writes any more.
const settled = 25 * time.Second

// judge asks the databases and writes the report.
func (s *story) judge(ctx context.Context) error {
	s.say.step("the account, from the databases and the shoppers' own record")
	began := time.Now()
	found, err := s.databases.Settle(ctx, s.baseline, s.written(), check.Extracted, settled)
	if err != nil {
		return err
	}
	r := newReport(s.load.Record().Counts(), found, s.rowsPerS, s.switches)
	if err := r.write(s.report); err != nil {
		return err
	}
	r.tell(s.say)
	for _, example := range found.Examples {
		s.say.say("%s", s.say.paint(red, example))
	}
	s.confess()
	s.say.done(time.Since(began), "every row of the moved tables compared")
	switch {
	case r.wrong() > 0:
		return fmt.Errorf("%d figures are not what they must be; see %s", r.wrong(), s.report)
	case found.PendingOrders > 0:
		return fmt.Errorf("%d orders are still pending", found.PendingOrders)
	}
	return nil
}

// written is what the databases are held against.
func (s *story) written() check.Written {
	w := check.Written{Before: map[int64]int64{}}
	for _, c := range s.load.Customers() {
		w.Before[c.ID] = c.Before
	}
	for _, ack := range s.load.Record().Acknowledged() {
		w.Acknowledged = append(w.Acknowledged, check.Write{Ref: ack.Ref, Customer: ack.Customer})
	}
	for _, lost := range s.load.Record().Unknown() {
		w.Unknown = append(w.Unknown, check.Write{Ref: lost.Ref, Customer: lost.Customer})
	}
	return w
}

// writeTimeline leaves the run second by second beside the logs.
func (s *story) writeTimeline() error {
	var text strings.Builder
	fmt.Fprintln(&text, "second,requests,failed,writes,slowest_write_ms")
	for i, second := range s.load.Record().Seconds() {
		fmt.Fprintf(&text, "%d,%d,%d,%d,%.1f\n", i, second.Requests, second.Failed, second.Writes, ms(second.Slowest))
	}
	if err := os.WriteFile(s.stage.Logs()+"/load.csv", []byte(text.String()), 0o644); err != nil {
		return fmt.Errorf("write timeline: %w", err)
	}
	return nil
}
