package controller

import (
	"context"
	"errors"
	"fmt"
	"time"

	"strangler/capability"
)

// SetBreakers writes the operator's modes of the capability's breakers into its
// document and returns when every live proxy serves it, or an error that says who
// does not.
func (r *Reconciler) SetBreakers(ctx context.Context, modes map[capability.Side]capability.BreakerMode, actor string) error {
	doc, err := r.editBreakers(ctx, modes)
	if err != nil {
		return err
	}
	evidence := map[string]any{}
	for side, mode := range modes {
		evidence[string(side)] = string(mode)
	}
	err = r.record(ctx, capability.Entry{Actor: actor, Action: "breakers", Outcome: "done", Evidence: evidence})
	return errors.Join(err, r.awaitDocument(ctx, doc.Revision))
}

func (r *Reconciler) editBreakers(ctx context.Context, modes map[capability.Side]capability.BreakerMode) (doc capability.Document, err error) {
	r.acting.Lock()
	defer r.acting.Unlock()
	err = r.edit(ctx, capability.Edit{Breakers: modes}, &doc)
	return doc, err
}

// awaitDocument waits until every live proxy serves a revision of the document.
// Proxies find changed documents by themselves.
func (r *Reconciler) awaitDocument(ctx context.Context, revision string) error {
	for {
		proxies, err := r.askProxies(ctx, 0, false, 0)
		if err != nil {
			return err
		}
		behind := ""
		for _, s := range proxies.serving {
			if s.Document != revision {
				behind = s.Proxy
			}
		}
		switch {
		case len(proxies.serving) == 0:
			return errors.New("it is in the document, but no proxy that is registered answers")
		case behind == "":
			return nil
		case ctx.Err() != nil:
			return fmt.Errorf("it is in the document, but the proxy %s does not serve it yet: %w", behind, context.Cause(ctx))
		}
		pause(ctx, 50*time.Millisecond)
	}
}
