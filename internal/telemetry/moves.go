package telemetry

import (
	"github.com/prometheus/client_golang/prometheus"

	"strangler/capability"
)

// Moves are the metrics of the controller: where every capability's data stands.
type Moves struct {
	statuses func() []capability.Status
	owner    *prometheus.Desc
	phase    *prometheus.Desc
	lagBytes *prometheus.Desc
	retained *prometheus.Desc
	lag      *prometheus.Desc
	live     *prometheus.Desc
	changes  *prometheus.Desc
	changed  *prometheus.Desc
	mismatch *prometheus.Desc
	ready    *prometheus.Desc
}

// NewMoves returns a collector that asks statuses at every scrape.
func NewMoves(statuses func() []capability.Status) *Moves {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("strangler_"+name, help, append([]string{"capability"}, labels...), nil)
	}
	return &Moves{
		statuses: statuses,
		owner:    desc("owner", "1 for the side that takes the capability's writes.", "side"),
		phase:    desc("move_phase", "1 for the phase in which the capability's data is.", "phase"),
		lagBytes: desc("stream_lag_bytes", "Log of the source that is not applied yet.", "from"),
		retained: desc("stream_retained_bytes", "Log or events that the source keeps for the stream.", "from"),
		lag:      desc("stream_lag_seconds", "Age of the oldest change that is not applied yet.", "from"),
		live:     desc("stream_live", "1 while the stream runs.", "from"),
		changes:  desc("stream_changes_total", "Changes applied since the process started.", "from"),
		changed:  desc("stream_unverified_keys", "Keys applied and not compared since.", "from"),
		mismatch: desc("verify_mismatches", "Rows that differed in the last full verification."),
		ready:    desc("switch_ready", "1 while the owner could be switched.", "to"),
	}
}

// Describe implements prometheus.Collector.
func (m *Moves) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(m, ch) }

// Collect implements prometheus.Collector.
func (m *Moves) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	for _, s := range m.statuses() {
		for _, side := range capability.Sides {
			gauge(m.owner, truth(s.Effective.Owner == side), s.Capability, string(side))
		}
		gauge(m.phase, 1, s.Capability, string(s.Data.Phase))
		gauge(m.ready, truth(s.Switch.Ready), s.Capability, string(s.Switch.To))
		if v := s.Data.Verify; v != nil {
			gauge(m.mismatch, float64(v.Count), s.Capability)
		}
		for _, stream := range s.Data.Streams {
			from := string(stream.From)
			gauge(m.lagBytes, float64(stream.LagBytes), s.Capability, from)
			gauge(m.retained, float64(stream.Retained), s.Capability, from)
			gauge(m.lag, stream.Lag.Seconds(), s.Capability, from)
			gauge(m.live, truth(stream.Live), s.Capability, from)
			gauge(m.changed, float64(stream.Changed), s.Capability, from)
			ch <- prometheus.MustNewConstMetric(m.changes, prometheus.CounterValue, float64(stream.Changes), s.Capability, from)
		}
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
