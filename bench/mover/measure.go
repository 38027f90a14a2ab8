package main

import (
	"context"
	"errors"
	"time"

	"testbed/cluster"
)

// sample is one turn of one contender.
type sample struct {
	Seconds   float64 `json:"seconds"`
	Units     int64   `json:"units"` // rows, changes or transactions: the section says which
	Bytes     int64   `json:"bytes"` // the section says of what
	Wait      float64 `json:"wait_seconds,omitempty"`
	ToolCPU   float64 `json:"tool_cpu_seconds"`   // of strangler, or of the programs that copied; not of what runs inside of a server
	SourceCPU float64 `json:"source_cpu_seconds"` // of the source's server, all its processes
	TargetCPU float64 `json:"target_cpu_seconds"`
	RestRSS   int64   `json:"tool_rest_rss_bytes,omitempty"` // resident before
	PeakRSS   int64   `json:"tool_peak_rss_bytes"`
}

// rate is units a second.
func (s sample) rate() float64 { return float64(s.Units) / s.Seconds }

// cost is the CPU seconds of everybody together, for one unit.
func (s sample) cost() float64 { return (s.ToolCPU + s.SourceCPU + s.TargetCPU) / float64(s.Units) }

// use notes what the tool has used.
func (s *sample) use(u usage) {
	s.ToolCPU, s.RestRSS, s.PeakRSS = u.cpu.Seconds(), u.rest, u.peak
}

// measure times some work and counts what both servers use meanwhile, and the strangler where there is one. Checkpoints come first,
// so that nobody pays for the pages that the one before has left behind.
func (w *world) measure(ctx context.Context, s *strangler, work func(context.Context) error) (sample, error) {
	if err := errors.Join(administer(ctx, w.source, `checkpoint`), administer(ctx, w.target, `checkpoint`)); err != nil {
		return sample{}, err
	}
	m, err := w.begin(s)
	if err != nil {
		return sample{}, err
	}
	if err := work(ctx); err != nil {
		return sample{}, err
	}
	return m.end()
}

// meter is readings from before, to be compared with those after.
type meter struct {
	servers  [2]*cluster.Postgres
	tool     *strangler // nil: there is none
	cpu      [2]time.Duration
	used     time.Duration
	resident int64
	began    time.Time
}

func (w *world) begin(s *strangler) (m meter, err error) {
	m = meter{servers: [2]*cluster.Postgres{w.source, w.target}, tool: s}
	for i, server := range m.servers {
		if m.cpu[i], err = serverCPU(server.PID()); err != nil {
			return m, err
		}
	}
	if s != nil && counted {
		pid := s.process.PID()
		if err := forgetPeak(pid); err != nil {
			return m, err
		}
		if m.used, err = processCPU(pid); err != nil {
			return m, err
		}
		if m.resident, _, err = resident(pid); err != nil {
			return m, err
		}
	}
	m.began = time.Now()
	return m, nil
}

func (m meter) end() (sample, error) {
	s := sample{Seconds: time.Since(m.began).Seconds()}
	for i, into := range []*float64{&s.SourceCPU, &s.TargetCPU} {
		now, err := serverCPU(m.servers[i].PID())
		if err != nil {
			return s, err
		}
		*into = (now - m.cpu[i]).Seconds()
	}
	if m.tool != nil && counted {
		now, err := processCPU(m.tool.process.PID())
		if err != nil {
			return s, err
		}
		_, peak, err := resident(m.tool.process.PID())
		if err != nil {
			return s, err
		}
		s.use(usage{now - m.used, m.resident, peak})
	}
	return s, nil
}
