package edge

import (
	"io"
	"net/http"
	"testing"

	"golang.org/x/net/http2"
)

// net/http takes Expect out of an HTTP/2 request and answers 100 when its body is
// first read. The handler is shown what was asked, so that it can put off reading.
func TestExpectOverHTTP2(t *testing.T) {
	t.Parallel()
	inside, read := make(chan string), make(chan bool)
	s := run(t, Options{HTTP2: true, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		inside <- r.Header.Get("Expect")
		if !<-read {
			w.WriteHeader(http.StatusExpectationFailed)
			return
		}
		w.WriteHeader(http.StatusContinue) // as a proxy passes it on
		b, err := io.ReadAll(r.Body)
		if err != nil || string(b) != "body" {
			t.Errorf("%q arrived, %v", b, err)
		}
		w.WriteHeader(http.StatusNoContent)
	})})
	f := speak(t, dial(t, s.address))
	f.request(1, false, ":method", "PUT", "expect", "100-continue")
	if got := within(t, "the request", inside); got != "100-continue" {
		t.Errorf("the handler is shown Expect: %q; has net/http renamed the field that showExpect reads?", got)
	}
	f.quiet("before the body is read")
	read <- true
	if got := f.status(1); got != "100" {
		t.Errorf("%s when the body is read", got)
	}
	f.quiet("100 was said already")
	f.must(f.WriteData(1, true, []byte("body")))
	if got := f.status(1); got != "204" {
		t.Errorf("%s at the end", got)
	}

	f.request(3, false, ":method", "PUT", "expect", "100-continue")
	within(t, "the request", inside)
	read <- false
	if got := f.status(3); got != "417" {
		t.Errorf("%s without the body", got)
	}
	if frame, err := f.next(); err != nil || frame.Header().Type != http2.FrameRSTStream {
		t.Errorf("%v, %v: the body is still wanted", frame, err)
	}

	f.request(5, false, ":method", "PUT")
	if got := within(t, "the request", inside); got != "" {
		t.Errorf("the handler is shown Expect: %q where nobody asked", got)
	}
	read <- true
	if got := f.status(5); got != "100" {
		t.Errorf("%s: what nobody asked for is the handler's to say", got)
	}
	f.must(f.WriteData(5, true, []byte("body")))
	if got := f.status(5); got != "204" {
		t.Errorf("%s at the end", got)
	}
}
