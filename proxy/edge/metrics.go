package edge

import "github.com/prometheus/client_golang/prometheus"

// metrics shows Stats to Prometheus when it asks.
type metrics struct{ server *Server }

var (
	descOpen       = describe("connections", "Connections of clients that are open, upgraded ones included.")
	descTurned     = describe("turned_away_total", "Connections closed at once because edge.limits.connections were open.")
	descHandshakes = describe("failed_handshakes_total", "TLS handshakes that failed.")
	descMalformed  = describe("malformed_total", "Requests refused because two servers could read them differently.")
	descTooLarge   = describe("too_large_total", "Requests refused because of edge.limits.header_bytes.")
	descStalled    = describe("stalled_total", "Connections and HTTP/2 streams given up because their client stalled.")
	descResets     = describe("resets_total", "HTTP/2 requests that their clients took back before they were answered.")
)

func describe(name, help string) *prometheus.Desc {
	return prometheus.NewDesc("strangler_edge_"+name, help, nil, nil)
}

func (m metrics) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(m, ch) }

func (m metrics) Collect(ch chan<- prometheus.Metric) {
	s := m.server.Stats()
	ch <- prometheus.MustNewConstMetric(descOpen, prometheus.GaugeValue, float64(s.Open))
	for desc, count := range map[*prometheus.Desc]uint64{descTurned: s.Turned, descHandshakes: s.Handshakes, descMalformed: s.Malformed,
		descTooLarge: s.TooLarge, descStalled: s.Stalled, descResets: s.Resets} {
		ch <- prometheus.MustNewConstMetric(desc, prometheus.CounterValue, float64(count))
	}
}
