package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// admin reads strangler's own API, for telling what goes on and for nothing else: the verdict does not rest on it.
type admin struct{ url string }

// backfill is the part of a capability's status that a progress bar needs.
type backfill struct {
	Rows      int64   `json:"rows"`
	Total     int64   `json:"total"`
	Table     string  `json:"table"`
	PerSecond float64 `json:"per_second"`
}

// data is the part of a capability's status that says where its data stand.
type data struct {
	Phase    string    `json:"phase"`
	Backfill *backfill `json:"backfill"`
	Streams  []struct {
		From string        `json:"from"`
		Live bool          `json:"live"`
		Lag  time.Duration `json:"lag_ns"`
	} `json:"streams"`
}

func (a admin) data(ctx context.Context, capability string) (data, error) {
	var status struct{ Data data }
	err := a.get(ctx, "/api/capabilities/"+capability, &status)
	return status.Data, err
}

type breaker struct{ Capability, Side, State, Reason string }

func (a admin) breaker(ctx context.Context, capability, side string) (breaker, error) {
	var all []breaker
	if err := a.get(ctx, "/proxy/breakers", &all); err != nil {
		return breaker{}, err
	}
	for _, b := range all {
		if b.Capability == capability && b.Side == side {
			return b, nil
		}
	}
	return breaker{Capability: capability, Side: side, State: "closed"}, nil
}

func (a admin) get(ctx context.Context, path string, into any) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, a.url+path, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: status %d", path, response.StatusCode)
	}
	return json.NewDecoder(response.Body).Decode(into)
}
