package edge

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"
)

// late answers a request that was cut off, as a proxy does once its upstream is given up.
func late(inside chan<- bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		inside <- true
		<-r.Context().Done()
		<-time.After(20 * time.Millisecond)
		if !errors.Is(context.Cause(r.Context()), ErrEndOfGrace) {
			return
		}
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = io.WriteString(w, "the grace is over")
	})
}

// A client whose answer has not begun at the end of the grace is told so.
func TestWhatIsCutOffIsAnswered(t *testing.T) {
	t.Parallel()
	t.Run("HTTP/1.1", func(t *testing.T) {
		t.Parallel()
		inside := make(chan bool, 1)
		s := run(t, Options{Handler: late(inside), Drain: Drain{Grace: time.Millisecond}})
		c := dial(t, s.address)
		send(t, c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		within(t, "the request", inside)
		s.stop()
		r := bufio.NewReader(c)
		if res, body := answerOf(t, r); res.StatusCode != http.StatusServiceUnavailable || !res.Close || body != "the grace is over" {
			t.Errorf("%+v %q", res, body)
		}
		if _, err := r.ReadByte(); !errors.Is(err, io.EOF) {
			t.Errorf("the connection ends with %v", err)
		}
		within(t, "the end", s.stopped)
	})
	inside := make(chan bool, 2)
	overHTTP2(t, Options{Handler: late(inside), Drain: Drain{Grace: time.Millisecond}}, func(t *testing.T, s *running, c *http.Client, url string) {
		got := make(chan string, 1)
		go func() {
			res, err := c.Get(url)
			if err != nil {
				got <- err.Error()
				return
			}
			defer res.Body.Close()
			b, err := io.ReadAll(res.Body)
			if err != nil {
				b = append(b, err.Error()...)
			}
			got <- res.Status + ", " + string(b)
		}()
		within(t, "the request", inside)
		s.stop()
		if got := within(t, "the answer", got); got != "503 Service Unavailable, the grace is over" {
			t.Error(got)
		}
		within(t, "the end", s.stopped)
	})
}

// Whoever goes on writing is not waited for.
func TestTheLastMomentIsBounded(t *testing.T) {
	t.Parallel()
	inside, ended := make(chan bool, 2), make(chan error, 2)
	overHTTP2(t, Options{Drain: Drain{Grace: time.Millisecond}, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		inside <- true
		for {
			if _, err := io.WriteString(w, "more"); err != nil {
				ended <- err
				return
			}
		}
	})}, func(t *testing.T, s *running, c *http.Client, url string) {
		go func() {
			if res, err := c.Get(url); err == nil {
				_, _ = io.Copy(io.Discard, res.Body)
				res.Body.Close()
			}
		}()
		within(t, "the request", inside)
		s.stop()
		within(t, "the handler's end", ended)
		within(t, "the end", s.stopped)
	})
}

// One line says when a drain begins, one how it ended.
func TestDrainIsLogged(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		grace time.Duration
		begin string
		end   string
	}{
		"all finished": {time.Minute, "requests=1", "drained: every request was answered"},
		"cut off":      {time.Millisecond, "requests=1", "drained: requests were cut off at the end of the grace\" cut_off=1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			log := &lines{}
			inside, release := make(chan bool, 1), make(chan bool)
			s := run(t, Options{Log: slog.New(slog.NewTextHandler(log, nil)), Drain: Drain{Grace: c.grace},
				Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					inside <- true
					select {
					case <-release:
					case <-r.Context().Done():
					}
				})})
			send(t, dial(t, s.address), "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
			within(t, "the request", inside)
			s.stop()
			until(t, "the drain is logged", func() bool { return log.count("draining") == 1 })
			if c.grace == time.Minute {
				close(release)
			}
			within(t, "the end", s.stopped)
			if n := log.count("draining"); n != 1 || log.count(c.begin) != 1 || log.count("grace="+c.grace.String()) != 1 {
				t.Errorf("the beginning: %s", log.String())
			}
			if log.count("drained") != 1 || log.count(c.end) != 1 || strings.Contains(log.String(), "ERROR") {
				t.Errorf("the end: %s", log.String())
			}
		})
	}
}

// A handler may go on for a client that has left: the grace is its, too.
func TestDrainWaitsForHandlersWithoutAClient(t *testing.T) {
	t.Parallel()
	inside, release, on := make(chan bool, 2), make(chan bool), make(chan bool, 2)
	overHTTP2(t, Options{
		Drain:   Drain{Grace: time.Minute},
		Streams: func(context.Context) int { on <- true; return 0 },
		Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			inside <- true
			<-release
		}),
	}, func(t *testing.T, s *running, c *http.Client, url string) {
		ctx, leave := context.WithCancel(t.Context())
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		left := make(chan bool)
		go func() {
			if res, err := c.Do(req); err == nil {
				res.Body.Close()
			}
			close(left)
		}()
		within(t, "the request", inside)
		leave()
		within(t, "the client's end", left)
		until(t, "the connection closes", func() bool { c.CloseIdleConnections(); return s.Stats().Open == 0 })
		s.stop()
		select {
		case <-on:
			t.Error("the drain went on before the handler had ended")
		case <-time.After(short):
		}
		release <- true
		within(t, "the end of the wait", on)
		within(t, "the end", s.stopped)
	})
}
