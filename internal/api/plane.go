package api

import (
	"context"
	"fmt"
	"net/http"
	"net/http/pprof"
	"strconv"
	"time"

	"github.com/gorilla/mux"

	"strangler/capability"
	"strangler/proxy"
)

// maxWait bounds how long a question to a proxy may block.
const maxWait = 30 * time.Second

// Plane is the part of a proxy that the API shows.
type Plane interface {
	Serving(ctx context.Context, name string, revision uint64, idle bool) capability.Serving
	Explain(request proxy.Request) (proxy.Decision, error)
	Routes() []proxy.RouteInfo
	Upstreams
	Ready() bool
}

// Upstreams is what a proxy says of the sides it forwards to.
type Upstreams interface {
	Breakers() []proxy.BreakerInfo
	Endpoints() []proxy.EndpointInfo
}

// DataPlane adds a proxy's part of the API to the router.
func DataPlane(router *mux.Router, p Plane) {
	a := plane{p}
	router.HandleFunc("/proxy/serving", a.serving).Methods(http.MethodGet)
	router.HandleFunc("/proxy/routes", func(w http.ResponseWriter, _ *http.Request) { answer(w, p.Routes(), nil) }).Methods(http.MethodGet)
	router.HandleFunc("/proxy/breakers", func(w http.ResponseWriter, _ *http.Request) { answer(w, p.Breakers(), nil) }).Methods(http.MethodGet)
	router.HandleFunc("/proxy/endpoints", func(w http.ResponseWriter, _ *http.Request) { answer(w, p.Endpoints(), nil) }).Methods(http.MethodGet)
	router.HandleFunc("/proxy/explain", a.explain).Methods(http.MethodPost)
	router.HandleFunc("/readyz", a.ready).Methods(http.MethodGet)
}

// Health adds what every process has: whether it lives, its metrics, and the
// profiles of Go's runtime (heap?gc=1 collects first).
func Health(router *mux.Router, metrics http.Handler) {
	router.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	router.HandleFunc("/debug/pprof/profile", pprof.Profile)
	router.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	router.HandleFunc("/debug/pprof/trace", pprof.Trace)
	router.PathPrefix("/debug/pprof/").HandlerFunc(pprof.Index)
	router.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) { answer(w, "alive", nil) }).Methods(http.MethodGet)
	router.Handle("/metrics", metrics).Methods(http.MethodGet)
}

type plane struct{ Plane }

func (a plane) ready(w http.ResponseWriter, _ *http.Request) {
	if !a.Ready() {
		refuse(w, http.StatusServiceUnavailable, fmt.Errorf("no routes are loaded, or the proxy is draining"))
		return
	}
	answer(w, "ready", nil)
}

func (a plane) serving(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	revision, err := strconv.ParseUint(query.Get("revision"), 10, 64)
	if query.Get("revision") != "" && err != nil {
		refuse(w, http.StatusBadRequest, fmt.Errorf("revision: %w", err))
		return
	}
	wait := time.Duration(0)
	if text := query.Get("wait"); text != "" {
		if wait, err = time.ParseDuration(text); err != nil || wait < 0 || wait > maxWait {
			refuse(w, http.StatusBadRequest, fmt.Errorf("wait: %q is not a duration up to %s", text, maxWait))
			return
		}
	}
	ctx, cancel := context.WithTimeout(r.Context(), wait)
	defer cancel()
	answer(w, a.Serving(ctx, query.Get("capability"), revision, query.Get("idle") == "true"), nil)
}

func (a plane) explain(w http.ResponseWriter, r *http.Request) {
	var request proxy.Request
	if !decode(w, r, &request) {
		return
	}
	decision, err := a.Explain(request)
	if err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	answer(w, decision, nil)
}
