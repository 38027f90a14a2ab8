package accounts

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// request is one of a visitor with the given session; "" is none.
func request(session string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header.Set("X-Customer-Id", "42")
	r.Header.Set("Authorization", "Bearer x")
	r.AddCookie(&http.Cookie{Name: "other", Value: "secret"})
	if session != "" {
		r.AddCookie(&http.Cookie{Name: "session", Value: session})
	}
	return r
}

func directory(t *testing.T, answer http.HandlerFunc) *Directory {
	srv := httptest.NewServer(answer)
	t.Cleanup(srv.Close)
	return New(srv.Client(), srv.URL, 300*time.Millisecond)
}

func TestOnlyTheSessionCookieCounts(t *testing.T) {
	asked := 0
	d := directory(t, func(w http.ResponseWriter, r *http.Request) {
		asked++
		if got := r.Header.Get("Cookie"); got != "session=tok" || r.Header.Get("X-Customer-Id") != "" || r.Header.Get("Authorization") != "" {
			t.Errorf("passed on %v", r.Header)
		}
		io.WriteString(w, `{"id":7,"email":"a@b","name":"Ann"}`)
	})
	if _, err := d.Customer(request("")); !errors.Is(err, ErrNobody) {
		t.Errorf("without a session: %v", err)
	}
	for range 3 {
		if c, err := d.Customer(request("tok")); err != nil || c != (Customer{7, "a@b", "Ann"}) {
			t.Errorf("got %+v, %v", c, err)
		}
	}
	if asked != 1 {
		t.Errorf("asked %d times", asked)
	}
}

func TestNoAnswerInTime(t *testing.T) {
	over := make(chan struct{})
	d := directory(t, func(http.ResponseWriter, *http.Request) { <-over })
	t.Cleanup(func() { close(over) })
	start := time.Now()
	_, err := d.Customer(request("tok"))
	if took := time.Since(start); !errors.Is(err, ErrUnavailable) || took < d.patience || took > 10*d.patience {
		t.Errorf("%v after %s", err, took)
	}
}

func TestAnswersThatAreNone(t *testing.T) {
	for _, answer := range []http.HandlerFunc{
		func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) },
		func(w http.ResponseWriter, _ *http.Request) {
			http.Redirect(w, request(""), "/elsewhere", http.StatusFound)
		},
		func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, `<html>`) },
		func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, `{"id":0}`) },
		func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		var asked atomic.Int64
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			asked.Add(1)
			answer(w, r)
		}))
		d := New(&http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}, srv.URL, 300*time.Millisecond)
		for range 2 { // not remembered
			if _, err := d.Customer(request("tok")); !errors.Is(err, ErrUnavailable) {
				t.Errorf("got %v", err)
			}
		}
		if asked.Load() < 2 {
			t.Error("a failure was remembered")
		}
		srv.Close()
	}
}

// clock is a time that a test moves.
type clock struct{ now time.Time }

func TestMemoryOfAnswers(t *testing.T) {
	now := &clock{time.Unix(0, 0)}
	c := newCache(func() time.Time { return now.now })
	asked := 0
	get := func(answer error) error {
		_, err := c.get(context.Background(), "tok", func(context.Context) (Customer, error) { asked++; return Customer{ID: 1}, answer })
		return err
	}
	for _, step := range []struct {
		after  time.Duration
		answer error
		asked  int
	}{
		{0, nil, 1},
		{knownFor - 1, nil, 1},
		{1, ErrNobody, 2},
		{nobodyFor - 1, nil, 2},
		{1, nil, 3},
		{knownFor, ErrUnavailable, 4},
		{0, nil, 5},
	} {
		now.now = now.now.Add(step.after)
		if err := get(step.answer); asked != step.asked {
			t.Fatalf("at %s: asked %d times, want %d (%v)", now.now, asked, step.asked, err)
		}
	}
}

func TestMemoryIsBounded(t *testing.T) {
	now := &clock{time.Unix(0, 0)}
	c := newCache(func() time.Time { return now.now })
	for i := range 3 * maxEntries {
		_, _ = c.get(context.Background(), fmt.Sprint(i), func(context.Context) (Customer, error) { return Customer{}, ErrNobody })
		if len(c.entries) > maxEntries {
			t.Fatalf("%d entries", len(c.entries))
		}
	}
}

// Many requests of one session that arrive together ask once, and one whose client hangs up takes nobody with it.
func TestOneQuestionForAll(t *testing.T) {
	c := newCache(time.Now)
	asking, release := make(chan struct{}), make(chan struct{})
	var asked atomic.Int64
	ask := func(ctx context.Context) (Customer, error) {
		if asked.Add(1) == 1 {
			close(asking)
		}
		<-release
		return Customer{ID: 7}, ctx.Err()
	}
	first, hangUp := context.WithCancel(context.Background())
	var all sync.WaitGroup
	check := func(ctx context.Context) {
		if got, err := c.get(ctx, "tok", ask); err != nil || got.ID != 7 {
			t.Errorf("got %+v, %v", got, err)
		}
	}
	all.Go(func() { check(first) })
	<-asking
	for range 20 {
		all.Go(func() { check(context.Background()) })
	}
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := c.get(gone, "tok", ask); !errors.Is(err, ErrUnavailable) {
		t.Errorf("a client that is gone got %v", err)
	}
	hangUp()
	close(release)
	all.Wait()
	if asked.Load() != 1 {
		t.Errorf("asked %d times", asked.Load())
	}
}
