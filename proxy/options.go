package proxy

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"strangler/capability"
	"strangler/proxy/edge"
	"strangler/proxy/pool"
)

// Options is what a proxy is made of. ID, Legacy and Log are required.
type Options struct {
	ID     string              // names this proxy in Serving
	Legacy capability.Upstream // answers whatever no capability claims
	// LegacyTimeout bounds unclaimed requests like Resilience.Timeout does claimed
	// ones; 0 leaves them to the client's patience, as before the proxy came.
	LegacyTimeout time.Duration

	LegacyAllow []capability.Oddity     // what paths may hold that no capability claims
	LegacyBound *capability.Concurrency // of unclaimed requests; nil: none
	Body        int64                   // largest request body in bytes, unless its route says otherwise; 0: any

	Peers edge.Peers // who may speak for others; the zero value is nobody
	// DropHeaders are taken out of requests of peers that are not trusted, in every
	// spelling, beside those that edge.Scrub knows.
	DropHeaders []string
	Override    string // request header by which trusted peers choose a side; empty: none

	Discovery pool.Discovery // nil: documents may list endpoints only
	NewLeg    pool.NewLeg    // nil: pool.Standard
	Zone      string         // of this proxy; endpoints in it are preferred
	// TunnelIdle closes upgraded connections on which nothing moves for so long; 0:
	// never.
	TunnelIdle time.Duration
	Marks      Marks // nil: who has written stays with the owner until the owner changes
	// Reload is asked to call Update when somebody knows of a newer state of a
	// capability than this proxy serves. It may block until it has; nil: never.
	Reload func(ctx context.Context, capability string) error

	Hold     HoldLimits // zero fields: 1,000 requests, 64 MiB, 8 s, capability.StreamsGrace
	Subjects int        // with unmet marks, per capability; 0: 100,000

	Log *slog.Logger
	// AccessEvery logs one of so many requests that did well; 0 and 1 log all.
	// Those answered with 500 and above are always logged.
	AccessEvery uint64
	Metrics     prometheus.Registerer // nil: none
}

func (o Options) withDefaults() (Options, error) {
	if o.ID == "" || o.Log == nil || len(o.Legacy.Endpoints) == 0 && o.Legacy.Consul == "" {
		return o, errors.New("make proxy: ID, Log and Legacy are required")
	}
	if o.Hold.Requests <= 0 {
		o.Hold.Requests = 1000
	}
	if o.Hold.Bytes <= 0 {
		o.Hold.Bytes = 64 << 20
	}
	if o.Hold.Age <= 0 {
		o.Hold.Age = capability.DefaultTimes().Age
	}
	if o.Hold.Grace <= 0 {
		o.Hold.Grace = capability.StreamsGrace
	}
	if o.Subjects <= 0 {
		o.Subjects = 100_000
	}
	if o.AccessEvery == 0 {
		o.AccessEvery = 1
	}
	return o, nil
}
