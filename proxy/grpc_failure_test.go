package proxy

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"strangler/capability"
	"strangler/proxy/breaker"
	"strangler/proxy/pool"
)

// ending answers each call with a status: in the header alone, or behind a message.
func ending(code int, trailersOnly bool) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/grpc")
		if trailersOnly {
			w.Header().Set("Grpc-Status", fmt.Sprint(code))
			return
		}
		_, _ = w.Write([]byte{0, 0, 0, 0, 1, 'x'})
		w.Header().Set(http.TrailerPrefix+"Grpc-Status", fmt.Sprint(code))
	}
}

// call is one of gRPC by hand, with a message of no bytes.
func (r *rig) call(method string, header ...string) *http.Request {
	return r.request("POST", method, strings.NewReader("\x00\x00\x00\x00\x00"), append([]string{"Content-Type", "application/grpc", "Te", "trailers"}, header...)...)
}

// What opens the breaker, and what ejects, by the status of the calls.
func TestGRPCFailuresCount(t *testing.T) {
	for code, want := range map[int]struct {
		opens, ejects bool
		name          string
	}{
		0: {false, false, "OK"}, 1: {false, false, "CANCELLED"}, 2: {true, false, "UNKNOWN"}, 4: {true, true, "DEADLINE_EXCEEDED"},
		5: {false, false, "NOT_FOUND"}, 8: {false, false, "RESOURCE_EXHAUSTED"}, 12: {false, false, "UNIMPLEMENTED"},
		13: {true, false, "INTERNAL"}, 14: {true, true, "UNAVAILABLE"}, 15: {true, false, "DATA_LOSS"}, 99: {false, false, "OTHER"},
	} {
		for _, trailersOnly := range []bool{true, false} {
			t.Run(fmt.Sprint(want.name, trailersOnly), func(t *testing.T) {
				registry := prometheus.NewRegistry()
				r := pairing{fronts[1], backs[1], pool.Standard}.start(t, ending(code, trailersOnly), func(o *Options, d *capability.Document) {
					o.Metrics = registry
					d.Resilience.Breaker = capability.Breaker{Ratio: 0.5, Requests: 5, Window: time.Minute, OpenFor: time.Hour, Trials: 1}
					d.Extracted.Ejection = capability.Ejection{Failures: 1, For: time.Hour}
					d.Extracted.Endpoints = append(d.Extracted.Endpoints, strings.Replace(d.Extracted.Endpoints[0], "127.0.0.1", "localhost", 1)) // the last one is never ejected
				})
				r.set(state(2, capability.Extracted, capability.Whole))
				for range 5 {
					a, res := r.send(r.call("/api/orders/x"))
					if said := a.header.Get("Grpc-Status") + res.Trailer.Get("Grpc-Status"); said != fmt.Sprint(code) {
						t.Fatalf("%d %v: grpc-status %q", a.status, a.err, said)
					}
				}
				r.settled()
				if b := r.Breakers()[1]; (b.State == breaker.Open) != want.opens {
					t.Errorf("breaker: %+v", b)
				}
				if e := r.Endpoints()[1:]; (e[0].State == pool.Ejected || e[1].State == pool.Ejected) != want.ejects {
					t.Errorf("endpoints: %+v", e)
				}
				eventually(t, "the calls are counted", func() bool { return counted(t, registry, "strangler_grpc_calls_total") == 5 })
				if !strings.Contains(r.log.String(), `"grpc_status":"`+want.name+`"`) {
					t.Errorf("the log does not say %s", want.name)
				}
			})
		}
	}
}

// DEADLINE_EXCEEDED is the side's failure, but not at its client's own deadline.
func TestGRPCDeadlineOfTheSide(t *testing.T) {
	for deadline, failures := range map[string]int{"1n": 0, "1H": 1} {
		for _, trailersOnly := range []bool{true, false} {
			r := pairing{fronts[1], backs[1], pool.Standard}.start(t, ending(4, trailersOnly))
			r.set(state(2, capability.Extracted, capability.Whole))
			_, _ = r.send(r.call("/api/orders/x", "Grpc-Timeout", deadline))
			r.settled()
			if b := r.Breakers()[1]; b.Failures != failures {
				t.Errorf("%s, %v: %+v", deadline, trailersOnly, b)
			}
		}
	}
}
