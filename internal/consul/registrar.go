package consul

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/hashicorp/consul/api"
)

// RegistrarOptions say what a proxy registers itself as. Client, Name, ID, Port and
// Ready must be given.
type RegistrarOptions struct {
	Client  *api.Client // of the agent that is to watch over the proxy: the one beside it
	Name    string      // of the service
	ID      string      // unique on the agent
	Address string      // where clients reach the proxy; empty: the agent's address
	Port    int
	Tags    []string
	Meta    map[string]string
	Ready   string // URL that answers 200 while the proxy is to get requests
	Log     *slog.Logger
}

// Registrar keeps a proxy registered as a service, with a check on its readiness.
type Registrar struct {
	agent        *api.Agent
	registration *api.AgentServiceRegistration
	log          *slog.Logger
	bounds       bounds
	look         time.Duration // between two looks whether the agent still knows
	changes      chan struct{} // one slot: the agent has not known the proxy, or not answered, and now does
}

// The times of the check. A proxy that is gone for good is taken out of the catalog
// in the end; one that is restarted within that time keeps its place.
const (
	checkInterval = 5 * time.Second
	checkTimeout  = 2 * time.Second
	checkForget   = 10 * time.Minute
	registrarLook = 10 * time.Second
)

// NewRegistrar returns a Registrar. It asks nothing yet.
func NewRegistrar(o RegistrarOptions) *Registrar {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Registrar{
		agent: o.Client.Agent(), log: o.Log.With(slog.String("service", o.Name), slog.String("id", o.ID)),
		bounds: defaultBounds(), look: registrarLook, changes: make(chan struct{}, 1),
		registration: &api.AgentServiceRegistration{
			ID: o.ID, Name: o.Name, Address: o.Address, Port: o.Port, Tags: o.Tags, Meta: o.Meta,
			Check: &api.AgentServiceCheck{
				CheckID: "ready:" + o.ID, Name: "ready", HTTP: o.Ready, Interval: checkInterval.String(), Timeout: checkTimeout.String(),
				DeregisterCriticalServiceAfter: checkForget.String(),
			},
		},
	}
}

// Run registers the proxy, and again whenever the agent has lost it, as one without
// a data directory does by a restart. It blocks until ctx ends, and then takes the
// proxy out; what it returns is that this failed. Failures before that are logged and
// lived with: nobody's requests depend on the registration of the proxy that has them.
func (r *Registrar) Run(ctx context.Context) error {
	failures, registered := 0, false
	for ctx.Err() == nil {
		again, err := r.once(ctx, registered)
		pause := r.look
		switch {
		case ctx.Err() != nil:
		case err != nil:
			if failures == 0 {
				r.log.Warn("not registered in consul", slog.Any("error", err))
			}
			pause = r.bounds.pause(failures)
			failures++
		default:
			if again || failures > 0 {
				r.log.Info("registered in consul", slog.String("address", r.registration.Address), slog.Int("port", r.registration.Port))
				signal(r.changes)
			}
			failures, registered = 0, true
		}
		if !sleep(ctx, pause) {
			break
		}
	}
	// Of a context of its own: the one that ended cannot carry the goodbye.
	leaving, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.bounds.answer)
	defer cancel()
	err := r.agent.ServiceDeregisterOpts(r.registration.ID, (&api.QueryOptions{}).WithContext(leaving))
	if err != nil && !missing(err) {
		return fmt.Errorf("take %s out of consul: %w", r.registration.ID, err)
	}
	r.log.Info("taken out of consul")
	return nil
}

// once registers the proxy, the first time whatever the agent knows from an earlier
// run, and then if it does not know the proxy any more; then again is true.
func (r *Registrar) once(ctx context.Context, registered bool) (again bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, r.bounds.answer)
	defer cancel()
	_, _, err = r.agent.Service(r.registration.ID, (&api.QueryOptions{}).WithContext(ctx))
	if err != nil && !missing(err) {
		return false, fmt.Errorf("ask the agent for %s: %w", r.registration.ID, err)
	}
	if registered && err == nil {
		return false, nil
	}
	if err := r.agent.ServiceRegisterOpts(r.registration, api.ServiceRegisterOpts{ReplaceExistingChecks: true}.WithContext(ctx)); err != nil {
		return false, fmt.Errorf("register %s: %w", r.registration.ID, err)
	}
	return true, nil
}

// missing says that the agent answered that it does not know the service.
func missing(err error) bool {
	var status api.StatusError
	return errors.As(err, &status) && status.Code == http.StatusNotFound
}
