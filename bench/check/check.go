package check

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// keptExamples is how many violations of each kind are described; all are counted.
const keptExamples = 5

// Write is one write of the load: the id it carried and the customer who made it.
type Write struct {
	Ref      string
	Customer int64
}

// Written is everything that the load knows it wrote.
type Written struct {
	Acknowledged []Write
	Unknown      []Write         // failed: each may have happened
	Before       map[int64]int64 // the counter of each customer of the load, before the load
}

// Findings are violations. All zero is how it must be.
type Findings struct {
	LostWrites       int64 // acknowledged, and not in the log of the owner
	DuplicatedWrites int64 // ids in the log more than once, and counters off from what was written, by how much
	ForkedRows       int64 // rows of the moved tables that differ, or exist on one side only
	StockDrift       int64 // pieces that are neither on the shelf nor in a confirmed order, or in both
	UnpairedPayments int64 // confirmed orders without their charged payment, and the reverse
	PendingOrders    int64 // sagas that nobody has finished
	Examples         []string
}

// Clean says whether there are no violations.
func (f *Findings) Clean() bool {
	return f.LostWrites == 0 && f.DuplicatedWrites == 0 && f.ForkedRows == 0 && f.StockDrift == 0 &&
		f.UnpairedPayments == 0 && f.PendingOrders == 0
}

// note counts one violation, and describes it while there are few of its kind.
func (f *Findings) note(counter *int64, by int64, format string, args ...any) {
	if *counter < keptExamples {
		f.Examples = append(f.Examples, fmt.Sprintf(format, args...))
	}
	*counter += by
}

// Databases are the two sides, read as a superuser.
type Databases struct {
	legacy, extracted *pgxpool.Pool
}

// Open connects to both.
func Open(ctx context.Context, legacyURL, extractedURL string) (*Databases, error) {
	legacy, err := connect(ctx, legacyURL)
	if err != nil {
		return nil, fmt.Errorf("open the legacy database: %w", err)
	}
	extracted, err := connect(ctx, extractedURL)
	if err != nil {
		legacy.Close()
		return nil, fmt.Errorf("open the extracted database: %w", err)
	}
	return &Databases{legacy: legacy, extracted: extracted}, nil
}

// connect pins what decides how values are written as text, so that equal values have equal texts.
func connect(ctx context.Context, url string) (*pgxpool.Pool, error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, err
	}
	for name, value := range map[string]string{
		"TimeZone": "UTC", "DateStyle": "ISO, YMD", "extra_float_digits": "3", "application_name": "check",
	} {
		config.ConnConfig.RuntimeParams[name] = value
	}
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, err
	}
	if err := pool.Ping(ctx); err != nil {
		pool.Close()
		return nil, err
	}
	return pool, nil
}

// Close ends all sessions.
func (d *Databases) Close() {
	d.legacy.Close()
	d.extracted.Close()
}

// retry is how long Settle waits between two looks.
const retry = 500 * time.Millisecond

// Settle checks until nothing is wrong any more, or the patience is over, and returns what was wrong last: right after
// the load the last changes are still on their way to the other side, and a saga may wait for its worker.
func (d *Databases) Settle(ctx context.Context, base Baseline, written Written, owner Side, patience time.Duration) (Findings, error) {
	deadline := time.Now().Add(patience)
	pause := time.NewTicker(retry)
	defer pause.Stop()
	for {
		found, err := d.Check(ctx, base, written, owner)
		if err != nil || found.Clean() || time.Now().After(deadline) {
			return found, err
		}
		select {
		case <-ctx.Done():
			return found, context.Cause(ctx)
		case <-pause.C:
		}
	}
}

// Check looks once. It reads every row of the moved tables on both sides: seconds for some hundred thousand.
func (d *Databases) Check(ctx context.Context, base Baseline, written Written, owner Side) (Findings, error) {
	var found Findings
	conn := d.of(owner)
	for _, look := range []func() error{
		func() error { return found.writes(ctx, conn, written) },
		func() error { return found.counters(ctx, conn, written) },
		func() error { return found.forks(ctx, d.legacy, d.extracted) },
		func() error { return found.stock(ctx, d, base, owner) },
		func() error { return found.payments(ctx, d, owner) },
		func() error { return found.pending(ctx, conn) },
	} {
		if err := look(); err != nil {
			return Findings{}, err
		}
	}
	return found, nil
}
