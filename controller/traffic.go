package controller

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"strangler/capability"
)

// refusal is why a state that the document asks for is not in effect.
type refusal string

func (r refusal) Error() string { return string(r) }

// SetTraffic writes weight or mirror into the document and returns when every
// live proxy serves them, or an error with the reason why not. What is refused is
// taken out of the document again: it would come into effect by itself, at a time
// that nobody chose.
func (r *Reconciler) SetTraffic(ctx context.Context, edit capability.Edit, actor string) error {
	if edit.Owner != nil || edit.State != nil {
		return errors.New("only weight and mirror are set here")
	}
	was, err := r.editTraffic(ctx, edit)
	var nobody *unansweredError
	switch {
	case errors.As(err, &nobody):
		return errors.Join(err, r.recordTraffic(ctx, was, edit, actor, err))
	case err != nil:
		return err
	}
	r.look()
	err = r.await(ctx, func(s capability.Effective) (bool, error) {
		if (edit.Weight == nil || s.Weight == *edit.Weight) && (edit.Mirror == nil || s.Mirror == *edit.Mirror) {
			return true, nil
		}
		if s.Refused != "" {
			return false, refusal(s.Refused)
		}
		return false, nil
	})
	if errors.As(err, new(refusal)) {
		err = r.takeBack(ctx, was, edit, err)
	}
	return errors.Join(err, r.recordTraffic(ctx, was, edit, actor, err))
}

func (r *Reconciler) recordTraffic(ctx context.Context, was capability.Traffic, edit capability.Edit, actor string, err error) error {
	outcome := "done"
	if err != nil {
		outcome = err.Error()
	}
	from, to := shares(capability.Edit{Weight: &was.Weight, Mirror: &was.Mirror}, edit), shares(edit, edit)
	return r.record(context.WithoutCancel(ctx), capability.Entry{Actor: actor, Action: "traffic", From: from, To: to, Outcome: outcome})
}

// shares puts those shares into words that an edit changes.
func shares(of, edit capability.Edit) string {
	var words []string
	if edit.Weight != nil {
		words = append(words, "weight "+of.Weight.String())
	}
	if edit.Mirror != nil {
		words = append(words, "mirror "+of.Mirror.String())
	}
	return strings.Join(words, ", ")
}

// unansweredError refuses a share for a side without an endpoint that answers.
type unansweredError struct {
	name string
	was  capability.Weight
	why  error
}

func (e *unansweredError) Error() string {
	return fmt.Sprintf("the extracted side of %s takes no requests, so the weight stays %s; start it, or mend extracted in the document: %v", e.name, e.was, e.why)
}

func (e *unansweredError) Unwrap() error { return e.why }

// editTraffic returns what the document said before. It raises the weight only
// where somebody is there to answer.
func (r *Reconciler) editTraffic(ctx context.Context, edit capability.Edit) (was capability.Traffic, err error) {
	r.acting.Lock()
	defer r.acting.Unlock()
	doc, state, _ := r.snapshot()
	was = doc.Traffic
	if edit.Weight != nil && *edit.Weight != capability.Whole || edit.Mirror != nil {
		if err := r.over(state); err != nil {
			return was, err
		}
	}
	if edit.Weight != nil && *edit.Weight > was.Weight {
		if err := r.options.Healthy(ctx, doc, capability.Extracted); err != nil {
			return was, &unansweredError{r.name, was.Weight, err}
		}
	}
	return was, r.edit(ctx, edit, &doc)
}

// takeBack makes the document say what it said before an edit that was refused,
// where nobody has changed it since, and adds that to the refusal.
func (r *Reconciler) takeBack(ctx context.Context, was capability.Traffic, edit capability.Edit, refused error) error {
	r.acting.Lock()
	defer r.acting.Unlock()
	defer r.look()
	doc, _, _ := r.snapshot()
	back := capability.Edit{}
	if edit.Weight != nil && doc.Traffic.Weight == *edit.Weight && was.Weight != *edit.Weight {
		back.Weight = &was.Weight
	}
	if edit.Mirror != nil && doc.Traffic.Mirror == *edit.Mirror && was.Mirror != *edit.Mirror {
		back.Mirror = &was.Mirror
	}
	if back.Weight == nil && back.Mirror == nil {
		return refused
	}
	if err := r.edit(ctx, back, &doc); err != nil {
		return errors.Join(refused, fmt.Errorf("take it out of the document again: %w", err))
	}
	return fmt.Errorf("%w; the document is as it was", refused)
}
