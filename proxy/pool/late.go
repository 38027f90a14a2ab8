package pool

import (
	"net/http"
	"sync"
)

// lateLeg stands in for a leg that could not be made, say because a certificate
// is not there yet. Every request tries again to make it.
type lateLeg struct {
	make func() (Leg, error)

	mu  sync.Mutex
	leg Leg // guarded by mu; nil until it could be made
}

func (l *lateLeg) RoundTrip(req *http.Request) (*http.Response, error) {
	leg, err := l.made()
	if err != nil {
		if req.Body != nil {
			_ = req.Body.Close() // the error that matters is the other one
		}
		return nil, unreachable(err)
	}
	return leg.RoundTrip(req)
}

func (l *lateLeg) made() (Leg, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.leg != nil {
		return l.leg, nil
	}
	leg, err := l.make()
	if err != nil {
		return nil, err
	}
	l.leg = leg
	return leg, nil
}

func (l *lateLeg) CloseIdleConnections() {
	l.mu.Lock()
	leg := l.leg
	l.mu.Unlock()
	if leg != nil {
		leg.CloseIdleConnections()
	}
}
