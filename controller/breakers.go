package controller

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"strangler/capability"
)

// SetBreakers writes the operator's modes of the capability's breakers into its
// document and returns when every live proxy serves it, or an error that says who
// does not.
func (r *Reconciler) SetBreakers(ctx context.Context, modes map[capability.Side]capability.BreakerMode, actor string) error {
	was, doc, err := r.editBreakers(ctx, modes)
	if err != nil {
		return err
	}
	var from, to []string
	evidence := map[string]any{}
	for _, side := range capability.Sides {
		if mode, ok := modes[side]; ok {
			from, to = append(from, fmt.Sprint(side, " ", was.Of(side))), append(to, fmt.Sprint(side, " ", mode))
			evidence[string(side)] = string(mode)
		}
	}
	err = r.record(ctx, capability.Entry{Actor: actor, Action: "breakers", From: strings.Join(from, ", "), To: strings.Join(to, ", "),
		Outcome: "done", Evidence: evidence})
	return errors.Join(err, r.awaitDocument(ctx, doc.Revision))
}

// editBreakers returns the modes that were before, and the document as it is then.
func (r *Reconciler) editBreakers(ctx context.Context, modes map[capability.Side]capability.BreakerMode) (was capability.BreakerModes, doc capability.Document, err error) {
	r.acting.Lock()
	defer r.acting.Unlock()
	before, _, _ := r.snapshot()
	err = r.edit(ctx, capability.Edit{Breakers: modes}, &doc)
	return before.Breakers, doc, err
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
