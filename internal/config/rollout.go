package config

import "strangler/capability"

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
