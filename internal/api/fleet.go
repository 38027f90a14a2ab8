package api

import (
	"context"
	"net/http"

	"github.com/gorilla/mux"

	"strangler/proxy"
)

// Reported is what one proxy says of the sides that it forwards to. Every proxy
// has breakers of its own, which open by what it has seen itself.
type Reported struct {
	Proxy     string               `json:"proxy"`
	Error     string               `json:"error,omitempty"` // why it says nothing
	Breakers  []proxy.BreakerInfo  `json:"breakers"`
	Endpoints []proxy.EndpointInfo `json:"endpoints"`
}

// Fleet adds what all registered proxies say to the router of a process that can
// ask them.
func Fleet(router *mux.Router, ask func(context.Context) ([]Reported, error)) {
	router.HandleFunc("/api/upstreams", func(w http.ResponseWriter, r *http.Request) {
		all, err := ask(r.Context())
		answer(w, append([]Reported{}, all...), err)
	}).Methods(http.MethodGet)
}

// Upstreams asks what every registered proxy says of the sides that it forwards
// to, in the order of their names.
func (c *Client) Upstreams(ctx context.Context) ([]Reported, error) {
	var all []Reported
	err := c.call(ctx, http.MethodGet, "/api/upstreams", nil, &all)
	return all, err
}

// Report asks one proxy what it says of the sides that it forwards to.
func (c *Client) Report(ctx context.Context) (Reported, error) {
	r := Reported{Breakers: []proxy.BreakerInfo{}, Endpoints: []proxy.EndpointInfo{}}
	if err := c.call(ctx, http.MethodGet, "/proxy/breakers", nil, &r.Breakers); err != nil {
		return r, err
	}
	err := c.call(ctx, http.MethodGet, "/proxy/endpoints", nil, &r.Endpoints)
	return r, err
}
