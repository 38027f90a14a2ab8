package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Leader elects the one active controller by a row in the legacy database: a
// holder, a lease, and a token that grows with every new leader. Whatever a
// leader writes elsewhere carries the token, so that one that was paused and
// wakes up late is refused there.
type Leader struct {
	database *Database
	holder   string
	lease    time.Duration
}

// NewLeader returns a candidate. The holder names this process in messages; the
// lease is how long a leader that died blocks the next.
func NewLeader(database *Database, holder string, lease time.Duration) *Leader {
	return &Leader{database: database, holder: holder, lease: lease}
}

// Lead waits until this process is the leader, then calls lead with its token, for OpenFenced.
// The context of lead ends when the lease could not be renewed. Lead returns
// when lead has; the lease is then given back.
func (l *Leader) Lead(ctx context.Context, waiting func(holder string), lead func(ctx context.Context, fence Fence) error) error {
	if err := l.database.Install(ctx); err != nil {
		return err
	}
	fence, err := l.acquire(ctx, waiting)
	if err != nil {
		return err
	}
	leading, lost := context.WithCancelCause(ctx)
	renewed := make(chan struct{})
	go func() {
		defer close(renewed)
		lost(l.renew(leading, fence.Token))
	}()
	err = lead(leading, fence)
	if cause := context.Cause(leading); cause != nil && ctx.Err() == nil {
		err = errors.Join(cause, err)
	}
	lost(nil)
	<-renewed
	return errors.Join(err, l.release(context.WithoutCancel(ctx), fence.Token))
}

func (l *Leader) acquire(ctx context.Context, waiting func(holder string)) (Fence, error) {
	said := ""
	for {
		var token int64
		var holder, domain string
		err := l.database.pool.QueryRow(ctx, `
			INSERT INTO strangler.leader AS l (holder, token, lease_until)
			VALUES ($1, 1, clock_timestamp() + make_interval(secs => $2))
			ON CONFLICT (one) DO UPDATE SET holder = excluded.holder, token = l.token + 1, lease_until = excluded.lease_until
			WHERE l.lease_until < clock_timestamp()
			RETURNING token, domain`, l.holder, l.lease.Seconds()).Scan(&token, &domain)
		if err == nil {
			return Fence{Domain: domain, Token: uint64(token)}, nil
		}
		if !errors.Is(err, pgx.ErrNoRows) {
			return Fence{}, fmt.Errorf("become the active controller: %w", err)
		}
		if err := l.database.pool.QueryRow(ctx, `SELECT holder FROM strangler.leader`).Scan(&holder); err == nil && holder != said {
			waiting(holder)
			said = holder
		}
		select {
		case <-ctx.Done():
			return Fence{}, context.Cause(ctx)
		case <-time.After(l.lease / 6):
		}
	}
}

// renew keeps the lease until the context ends; it returns why it could not.
func (l *Leader) renew(ctx context.Context, token uint64) error {
	valid := time.Now().Add(l.lease)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(l.lease / 4):
		}
		asked := time.Now()
		bounded, cancel := context.WithTimeout(ctx, l.lease/3)
		tag, err := l.database.pool.Exec(bounded, `
			UPDATE strangler.leader SET lease_until = clock_timestamp() + make_interval(secs => $2) WHERE token = $1`, int64(token), l.lease.Seconds())
		cancel()
		switch {
		case err == nil && tag.RowsAffected() == 0:
			return fmt.Errorf("lead: another controller has taken over from %s", l.holder)
		case err == nil:
			valid = asked.Add(l.lease)
		case ctx.Err() != nil:
			return nil
		case time.Now().After(valid):
			return fmt.Errorf("lead: the lease could not be renewed: %w", err)
		}
	}
}

func (l *Leader) release(ctx context.Context, token uint64) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	_, err := l.database.pool.Exec(ctx, `UPDATE strangler.leader SET lease_until = clock_timestamp() WHERE token = $1`, int64(token))
	if err != nil {
		return fmt.Errorf("give the lease back: %w", err)
	}
	return nil
}
