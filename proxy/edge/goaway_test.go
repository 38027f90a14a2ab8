package edge

import (
	"io"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// A client of HTTP/2 goes on sending while the server stops. What GOAWAY names as the
// last request, and all before it, is answered; what comes behind was not looked at, so
// that the client may send it again wherever it likes.
func TestGoawayCountsWhatIsAnswered(t *testing.T) {
	t.Parallel()
	refused := 0
	for round := range 6 {
		var handled sync.Map
		s := run(t, Options{HTTP2: true, Drain: Drain{Delay: time.Duration(round%3) * time.Millisecond}, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			handled.Store(r.URL.Path[1:], true)
			_, _ = io.WriteString(w, "x")
		})})
		f := speak(t, dial(t, s.address))
		if _, err := f.ReadFrame(); err != nil { // its settings, of which nothing matters here
			t.Fatal(err)
		}
		f.must(f.WriteSettingsAck())
		places, over := make(chan struct{}, 100), make(chan struct{}) // fewer than are allowed at once
		answered, last, told := map[uint32]bool{}, uint32(0), false
		go func() {
			defer close(over)
			for {
				frame, err := f.ReadFrame()
				if err != nil {
					return
				}
				if g, ok := frame.(*http2.GoAwayFrame); ok {
					last, told = g.LastStreamID, true
				}
				if frame.Header().Flags.Has(http2.FlagDataEndStream) && frame.Header().Type == http2.FrameData {
					answered[frame.Header().StreamID] = true
					<-places
				}
			}
		}()
		sent := uint32(1)
	sending:
		for ; ; sent += 2 {
			select {
			case places <- struct{}{}:
			case <-over:
				break sending
			}
			err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: sent, EndHeaders: true,
				BlockFragment: f.encode(":method", "POST", ":scheme", "http", ":authority", "x", ":path", "/"+strconv.Itoa(int(sent)))})
			if err != nil || f.WriteData(sent, true, []byte("b")) != nil {
				break
			}
			if sent == 401 {
				s.stop()
			}
		}
		<-over
		if !told {
			t.Fatalf("round %d: no GOAWAY behind %d requests", round, len(answered))
		}
		for id := uint32(1); id <= sent; id += 2 {
			_, ran := handled.Load(strconv.Itoa(int(id)))
			if want := id <= last; ran != want || answered[id] != want {
				t.Errorf("round %d: request %d was handled %v and answered %v; the last is %d", round, id, ran, answered[id], last)
			}
		}
		if sent > last {
			refused++
		}
	}
	if refused == 0 {
		t.Error("no request came behind the last: nothing was tested")
	}
}
