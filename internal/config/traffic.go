package config

import (
	"regexp"
	"strings"
	"time"

	"strangler/capability"
)

func defaultTraffic() capability.Traffic {
	return capability.Traffic{Owner: capability.Legacy, Subject: capability.Subject{Kind: capability.SubjectMinted}}
}

func defaultResilience() capability.Resilience {
	return capability.Resilience{
		Timeout: 5 * time.Second, Retries: 1, Fallback: true,
		Breaker: capability.Breaker{Ratio: 0.5, Requests: 10, Window: 10 * time.Second, OpenFor: 5 * time.Second, Trials: 3},
	}
}

func (v value) traffic(t *capability.Traffic) {
	s := v.section()
	if s == nil {
		return
	}
	set(s, "owner", &t.Owner, value.side)
	set(s, "weight", &t.Weight, value.weight)
	set(s, "mirror", &t.Mirror, value.weight)
	set(s, "subject", &t.Subject, value.subject)
	set(s, "salt", &t.Salt, func(v value) (string, bool) { name := v.name(); return name, name != "" })
	s.close()
}

func (v value) side() (capability.Side, bool) {
	word, ok := v.oneOf(string(capability.Legacy), string(capability.Extracted))
	return capability.Side(word), ok
}

func (v value) subject() (capability.Subject, bool) {
	const mend = "write cookie:NAME, header:NAME or address, or leave it out for a cookie of our own"
	text, ok := v.text()
	if !ok {
		return capability.Subject{}, false
	}
	kind, name, named := strings.Cut(text, ":")
	switch subject := (capability.Subject{Kind: capability.SubjectKind(kind), Name: name}); {
	case kind == "claim":
		v.problem("is not there yet: claims of a token are not read", mend)
	case subject.Kind == capability.SubjectAddress && !named:
		return subject, true
	case subject.Kind != capability.SubjectCookie && subject.Kind != capability.SubjectHeader:
		v.problem("is no subject", mend)
	case !token(name):
		v.problem("has no valid name after the colon", mend)
	default:
		return subject, true
	}
	return capability.Subject{}, false
}

var tokenForm = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]+$") // RFC 9110

// token says whether a cookie or a header can have this name.
func token(name string) bool { return tokenForm.MatchString(name) }

func (v value) resilience(r *capability.Resilience) {
	s := v.section()
	if s == nil {
		return
	}
	set(s, "timeout", &r.Timeout, value.duration)
	set(s, "retries", &r.Retries, func(v value) (int, bool) { n, ok := v.integer(0, 10); return int(n), ok })
	set(s, "fallback", &r.Fallback, func(v value) (bool, bool) {
		word, ok := v.oneOf("reads", "none")
		return word == "reads", ok
	})
	if v, ok := s.take("breaker"); ok {
		v.breaker(&r.Breaker)
	}
	if v, ok := s.take("streams"); ok {
		if word, ok := v.oneOf("drain", "keep", "close"); ok && word != "keep" {
			v.problem("is not there yet: open streams are kept", "write keep, or take it out")
		}
	}
	s.close()
}

func (v value) breaker(b *capability.Breaker) {
	s := v.section()
	if s == nil {
		return
	}
	set(s, "ratio", &b.Ratio, value.share)
	set(s, "requests", &b.Requests, func(v value) (int, bool) { n, ok := v.integer(1, 1_000_000); return int(n), ok })
	set(s, "window", &b.Window, value.duration)
	set(s, "open_for", &b.OpenFor, value.duration)
	set(s, "trials", &b.Trials, func(v value) (int, bool) { n, ok := v.integer(1, 1000); return int(n), ok })
	s.close()
}

func (v value) rollout() capability.Rollout {
	var r capability.Rollout
	s := v.section()
	if s == nil {
		return r
	}
	if steps, ok := s.need("steps", "list weights that rise, as in [1%, 25%, 100%]"); ok {
		r.Steps = steps.steps()
	}
	if every, ok := s.need("every", "say how long each step lasts, as in 1m"); ok {
		r.Every, _ = every.duration()
	}
	s.later("a rollout is not guarded", "guards")
	s.close()
	return r
}

func (v value) steps() []capability.Weight {
	items, _ := v.list()
	var steps []capability.Weight
	for _, item := range items {
		weight, ok := item.weight()
		if !ok {
			continue
		}
		if len(steps) > 0 && weight <= steps[len(steps)-1] {
			item.problem("is not above the step before it", "list weights that rise")
			continue
		}
		steps = append(steps, weight)
	}
	return steps
}
