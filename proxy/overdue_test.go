package proxy

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"strangler/capability"
)

// A gRPC server resets a call at its deadline, perhaps before the client does. That
// is the client's end of the call: it is told so, and no breaker hears of it.
func TestGRPCServerEndsOverdueCalls(t *testing.T) {
	conformWhere(t, overHTTP2, func(t *testing.T, c pairing) {
		for _, class := range []capability.Class{capability.Read, capability.Write} {
			t.Run(string(class), func(t *testing.T) {
				r := c.start(t, func(w http.ResponseWriter, r *http.Request) {
					patience, ok := grpcTimeout(r.Header.Get("Grpc-Timeout"))
					if !ok {
						t.Errorf("the upstream is given %v", r.Header)
					}
					if r.URL.Query().Has("begin") {
						w.Header().Set("Content-Type", "application/grpc")
						_ = http.NewResponseController(w).Flush()
					}
					<-time.After(patience)
					panic(http.ErrAbortHandler)
				}, func(_ *Options, d *capability.Document) {
					d.Routes = []capability.Route{{Path: "/conform.Echo/**", Class: class, Line: 3}}
				})
				call := func(query, patience string) *http.Response {
					req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.url+"/conform.Echo/Unary"+query, strings.NewReader("x"))
					if err != nil {
						t.Fatal(err)
					}
					req.Header = http.Header{"Content-Type": {"application/grpc+proto"}, "Te": {"trailers"}, "Grpc-Timeout": {patience}}
					res, err := r.client.Do(req)
					if err != nil {
						t.Fatal(err)
					}
					defer res.Body.Close()
					if _, err := io.ReadAll(res.Body); err != nil || res.StatusCode != http.StatusOK {
						t.Errorf("%s: status %d, %v", query, res.StatusCode, err)
					}
					return res
				}
				for range 12 { // the breaker opens after 10
					if h := call("", "5m").Header; h.Get("Grpc-Status") != "4" || h.Get("Content-Type") != "application/grpc" {
						t.Fatalf("%v", h)
					}
				}
				// How soon an answer begins is for the machine to say: until one has before its
				// deadline.
				patience, begun := 50, false
				for ; !begun && patience <= 30_000; patience *= 4 {
					res := call("?begin", fmt.Sprint(patience, "m"))
					if begun = res.Header.Get("Grpc-Status") == ""; begun && res.Trailer.Get("Grpc-Status") != "4" {
						t.Errorf("a stream ends with %v", res.Trailer)
					}
				}
				if !begun {
					t.Error("no answer began before its deadline")
				}
			})
		}
	})
}

// What the proxy refuses it refuses in the client's way.
func TestGRPCRefusals(t *testing.T) {
	conformWhere(t, overHTTP2, func(t *testing.T, c pairing) {
		r, conn, _ := c.startGRPC(t, capability.Read)
		r.doc.Routes[0].Body = 4
		r.set(state(2, capability.Legacy, 0))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		err := conn.Invoke(ctx, "/conform.Echo/Unary", wrapperspb.String("too much"), &text{})
		if st := status.Convert(err); st.Code() != codes.ResourceExhausted || st.Message() != errTooLarge.Error() {
			t.Errorf("%v", err)
		}
	})
}

func TestGRPCTimeout(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"1H": time.Hour, "2M": 2 * time.Minute, "3S": 3 * time.Second, "4m": 4 * time.Millisecond, "5u": 5 * time.Microsecond,
		"99999999n": 99999999, "0S": 0, "": -1, "S": -1, "1": -1, "1s": -1, "-1S": -1, "999999999n": -1, "99999999H": -1, "1.5S": -1,
	} {
		if got, ok := grpcTimeout(text); ok != (want >= 0) || ok && got != want {
			t.Errorf("%q is %v, %v", text, got, ok)
		}
	}
}
