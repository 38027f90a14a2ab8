package pool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

// look is how often Run asks for new instances where no request does.
const look = time.Second

// Run checks the endpoints until ctx ends, and returns nil when every check is
// gone. Also without checks it sees to it that withdrawn endpoints lose their
// connections when no request comes that would notice.
func (p *Pool) Run(ctx context.Context) error {
	var running sync.WaitGroup
	defer running.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ticker := time.NewTicker(look)
	defer ticker.Stop()
	var settings check
	loops := map[*Endpoint]context.CancelFunc{}
	for {
		v, r := p.current(), p.rules.Load()
		if r.check != settings {
			settings = r.check
			stopAll(loops)
		}
		stays := make(map[*Endpoint]bool, len(v.endpoints))
		for _, e := range v.endpoints {
			stays[e] = true
			if settings.Path == "" || loops[e] != nil {
				continue
			}
			single, stop := context.WithCancel(ctx)
			loops[e] = stop
			running.Go(func() { p.keepChecking(single, e, r) })
		}
		for e, stop := range loops {
			if !stays[e] {
				stop()
				delete(loops, e)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-p.changed:
		case <-ticker.C:
		}
	}
}

func stopAll(loops map[*Endpoint]context.CancelFunc) {
	for e, stop := range loops {
		stop()
		delete(loops, e)
	}
}

// keepChecking checks one endpoint, at first after a random part of the interval,
// so that checks of many endpoints are spread from the start.
func (p *Pool) keepChecking(ctx context.Context, e *Endpoint, r *rules) {
	every := r.check.Every
	timer := time.NewTimer(time.Duration(p.rand(uint64(every))))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			if e.withdrawn.Load() {
				e.leg.CloseIdleConnections() // the last check may have left a connection
			}
			return
		case <-timer.C:
		}
		why, told := p.check(ctx, e, r)
		if told && ctx.Err() == nil {
			p.checked(e, r, why)
		}
		timer.Reset(every - every/10 + time.Duration(p.rand(uint64(every/5)+1)))
	}
}

var errCheckTime = errors.New("no answer in time")

// check asks the endpoint once, and returns why it is not well, or nothing. It is not
// told where it could not ask.
func (p *Pool) check(ctx context.Context, e *Endpoint, r *rules) (why string, told bool) {
	ctx, cancel := context.WithTimeoutCause(ctx, r.check.Timeout, errCheckTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, e.url.Scheme+"://"+e.url.Host+r.check.Path, nil)
	if err != nil {
		return err.Error(), true
	}
	req.Host = r.check.host
	req.Header.Set("User-Agent", "strangler-check")
	res, err := e.leg.RoundTrip(req)
	if errors.Is(err, ErrExhausted) {
		p.log.Warn("cannot check an endpoint", "endpoint", e.address, "error", err)
		return "", false
	}
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return err.Error(), true
	}
	const enough = 64 << 10
	_, _ = io.CopyN(io.Discard, res.Body, enough) // a longer or broken body costs the connection, no more
	_ = res.Body.Close()
	if res.StatusCode < 200 || res.StatusCode > 399 {
		return fmt.Sprintf("%s answered %d", r.check.Path, res.StatusCode), true
	}
	return "", true
}
