package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"bench/check"
	"bench/shoppers"
)

const capability = "orders"

// backfillSeconds is how long the backfill is made to take.
const backfillSeconds = 30

func (s *story) startDatabases(ctx context.Context) (string, error) {
	if err := s.stage.StartDatabases(ctx); err != nil {
		return "", err
	}
	return fmt.Sprintf("PostgreSQL %d, twice", s.stage.PostgreSQL()), nil
}

func (s *story) fillShop(ctx context.Context) (string, error) {
	if err := s.stage.Fill(ctx, s.customers, s.products, s.orders); err != nil {
		return "", err
	}
	var err error
	if s.rows, err = s.stage.Rows(ctx); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s customers, %s products, %s orders; %s rows are going to move",
		count(s.customers), count(s.products), count(s.orders), count(s.rows)), nil
}

func (s *story) startPrograms(ctx context.Context) (string, error) {
	if err := s.stage.Configure(s.rows / backfillSeconds); err != nil {
		return "", err
	}
	if err := s.stage.StartShop(ctx); err != nil {
		return "", err
	}
	if err := s.command(ctx, "check"); err != nil {
		return "", err
	}
	if err := s.stage.StartProxy(ctx); err != nil {
		return "", err
	}
	return "the shop is at " + s.stage.Proxy(), nil
}

func (s *story) sendShoppers(ctx context.Context) (string, error) {
	var err error
	if s.databases, err = check.Open(ctx, s.stage.Legacy(), s.stage.Extracted()); err != nil {
		return "", err
	}
	if s.baseline, err = s.databases.Baseline(ctx, check.Legacy); err != nil {
		return "", err
	}
	if err := s.startLoad(ctx); err != nil {
		return "", err
	}
	if err := s.let(ctx, 5*time.Second); err != nil {
		return "", err
	}
	c := s.load.Record().Counts()
	return fmt.Sprintf("%d shoppers, %.0f writes/s and as many reads after them, %.0f other reads/s; %s requests so far, %d failed",
		s.shoppers, s.writes, s.reads, count(c.Requests), c.Failed), nil
}

// startLoad logs the shoppers in and lets them arrive until stopLoad.
func (s *story) startLoad(ctx context.Context) error {
	load, err := shoppers.Enter(ctx, shoppers.Options{
		URL: s.stage.Proxy(), Run: time.Now().UTC().Format("0102-150405"), Seed: s.seed, Shoppers: s.shoppers,
		Customers: s.customers, Products: s.products, Writes: s.writes, Reads: s.reads,
	})
	if err != nil {
		return err
	}
	// Not ended by ctx: on Ctrl-C, too, everybody gets the answer before the shop goes.
	arrivals, stop := context.WithCancel(context.WithoutCancel(ctx))
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		load.Run(arrivals)
	}()
	s.load = load
	s.stopLoad = func() {
		stop()
		<-gone
	}
	return nil
}

func (s *story) backfill(ctx context.Context) (string, error) {
	began := time.Now()
	finished := make(chan error, 1)
	go func() { finished <- s.command(ctx, "data", "start", capability) }()
	look := time.NewTicker(250 * time.Millisecond)
	defer look.Stop()
	api := admin{s.stage.Admin()}
	for {
		select {
		case err := <-finished:
			took := time.Since(began)
			s.rowsPerS = float64(s.rows) / took.Seconds()
			return fmt.Sprintf("%s rows, %s rows/s from the command to its return", count(s.rows), count(int64(s.rowsPerS))), err
		case <-look.C:
			// What cannot be asked just now is not drawn; that the command works is its own business.
			if now, err := api.data(ctx, capability); err == nil && now.Backfill != nil {
				b := now.Backfill
				s.say.progress(b.Rows, b.Total, fmt.Sprintf("%s of %s rows, %s rows/s, %s  %s",
					count(b.Rows), count(b.Total), count(int64(b.PerSecond)), b.Table, s.pulse()))
			}
		}
	}
}

// pulse says in a few words how the shoppers fare.
func (s *story) pulse() string {
	c := s.load.Record().Counts()
	return s.say.paint(dim, fmt.Sprintf("%s writes, %d failed", count(c.Acknowledged), c.Failed))
}

// near is how far behind the other side may be to be called following.
const near = time.Second

func (s *story) follow(ctx context.Context) (string, error) {
	began := time.Now()
	if err := s.catchUp(ctx); err != nil {
		return "", err
	}
	return fmt.Sprintf("both streams run; what was written during the backfill had arrived after %s", time.Since(began).Round(100*time.Millisecond)), nil
}

// catchUp waits until the other side is near.
func (s *story) catchUp(ctx context.Context) error {
	var now data
	var err error
	missed := s.until(ctx, time.Minute, "the other side to catch up", func() bool {
		if now, err = (admin{s.stage.Admin()}).data(ctx, capability); err != nil {
			return false
		}
		return now.Phase == "following" && len(now.Streams) == 2 && now.Streams[0].Live && now.Streams[1].Live && now.Streams[0].Lag < near
	})
	if missed != nil {
		return errors.Join(missed, err, fmt.Errorf("the phase is %q, the streams are %+v", now.Phase, now.Streams))
	}
	return nil
}

func (s *story) verify(ctx context.Context) (string, error) {
	if err := s.command(ctx, "data", "verify", capability); err != nil {
		return "", err
	}
	// Reading every row of both sides is work, which may have left the stream behind.
	return "no row differs", s.catchUp(ctx)
}

func (s *story) shiftReads(ctx context.Context) (string, error) {
	before := s.load.Record().Counts()
	if err := s.command(ctx, "weight", capability, "10%"); err != nil {
		return "", err
	}
	if err := s.until(ctx, time.Minute, "reads answered by the service", func() bool {
		return s.servedByOrders() >= before.ServedBy["orders"]+50
	}); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s of the last %s requests were answered by the service", count(s.servedByOrders()-before.ServedBy["orders"]),
		count(s.load.Record().Counts().Requests-before.Requests)), nil
}

func (s *story) servedByOrders() int64 { return s.load.Record().Counts().ServedBy["orders"] }

// blackout is how long the service stays dead.
const blackout = 6 * time.Second

func (s *story) killService(ctx context.Context) (string, error) {
	before := s.load.Record().Counts()
	killed := time.Now()
	if err := s.stage.Kill("orders"); err != nil {
		return "", err
	}
	api := admin{s.stage.Admin()}
	var seen breaker
	if err := s.until(ctx, 15*time.Second, "the breaker of the service's side to open", func() bool {
		var err error
		seen, err = api.breaker(ctx, capability, "extracted")
		return err == nil && seen.State != "closed"
	}); err != nil {
		return "", err
	}
	s.say.say("breaker %s after %s %s", seen.State, time.Since(killed).Round(time.Millisecond), seen.Reason)
	dark := s.load.Record().Counts()
	if err := s.let(ctx, blackout); err != nil {
		return "", err
	}
	now := s.load.Record().Counts()
	if now.ServedBy["orders"] != dark.ServedBy["orders"] {
		return "", fmt.Errorf("%d requests were answered by a service that is dead", now.ServedBy["orders"]-dark.ServedBy["orders"])
	}
	if failed := now.Failed - before.Failed; failed > 0 {
		return "", fmt.Errorf("%d requests failed", failed)
	}
	return fmt.Sprintf("%s requests since, all answered by the monolith, 0 failed", count(now.Requests-before.Requests)), nil
}

func (s *story) reviveService(ctx context.Context) (string, error) {
	before := s.load.Record().Counts()
	if err := s.stage.StartService(ctx, "orders", s.stage.Ports.Orders); err != nil {
		return "", err
	}
	if err := s.until(ctx, 60*time.Second, "reads answered by the service again", func() bool {
		return s.servedByOrders() >= before.ServedBy["orders"]+50
	}); err != nil {
		return "", err
	}
	b, err := (admin{s.stage.Admin()}).breaker(ctx, capability, "extracted")
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("it answers its tenth of the reads again, the breaker is %s", b.State), nil
}

// shiftAllReads shows as well what the service carries, while one command takes it back.
func (s *story) shiftAllReads(ctx context.Context) (string, error) {
	const enough = 200
	for _, weight := range []string{"50%", "100%"} {
		before := s.servedByOrders()
		if err := s.command(ctx, "weight", capability, weight); err != nil {
			return "", err
		}
		if err := s.until(ctx, time.Minute, "reads answered by the service", func() bool {
			return s.servedByOrders() >= before+enough
		}); err != nil {
			return "", err
		}
	}
	// Whoever has just come is slow at first, and has more to do; the stream may have waited for that.
	return fmt.Sprintf("%d reads answered by the service with either weight", enough), s.catchUp(ctx)
}

// around is how much of the time before and after a switch counts as during it.
const around = 2 * time.Second

// cross switches the owner and measures what the shoppers felt.
func (s *story) cross(ctx context.Context, verb, to string) (string, error) {
	from := time.Now()
	if err := s.command(ctx, verb, capability); err != nil {
		return "", err
	}
	until := time.Now()
	if err := s.let(ctx, 2*around); err != nil {
		return "", err
	}
	w := s.load.Record().Window(from.Add(-around), until.Add(around))
	s.switches = append(s.switches, crossed{To: to, AckGapMS: ms(w.Gap), MaxWriteMS: ms(w.Slowest), At: from.UTC()})
	if w.PerS < leastWriteRate {
		return "", fmt.Errorf("only %.0f writes/s were due around the switch and acknowledged, %d are needed for it to count", w.PerS, leastWriteRate)
	}
	return fmt.Sprintf("%.0f writes/s all along; %.0f ms without an acknowledged write at the longest, %.0f ms the slowest write, %d failed",
		w.PerS, ms(w.Gap), ms(w.Slowest), s.load.Record().Counts().Failed), nil
}

func (s *story) useService(ctx context.Context) (string, error) {
	const enough = 5_000
	before := s.servedByOrders()
	if err := s.until(ctx, 2*time.Minute, "requests answered by the service", func() bool {
		s.say.progress(s.servedByOrders()-before, enough, s.pulse())
		return s.servedByOrders() >= before+enough
	}); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s requests answered by the service", count(s.servedByOrders()-before)), nil
}

func (s *story) sendHome(ctx context.Context) (string, error) {
	if err := s.until(ctx, 3*time.Minute, "enough requests", func() bool {
		return s.load.Record().Counts().Requests >= leastRequests
	}); err != nil {
		return "", err
	}
	s.stopLoad()
	c := s.load.Record().Counts()
	return fmt.Sprintf("%s requests, %s acknowledged writes; %s carts turned down for being empty, %s arrivals late",
		count(c.Requests), count(c.Acknowledged), count(c.Refused), count(c.Late)), nil
}

func (s *story) showStatus(ctx context.Context) (string, error) {
	if err := s.command(ctx, "status"); err != nil {
		return "", err
	}
	return "and its ledger", s.command(ctx, "log", capability)
}
