package tunnel

import (
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"
)

// timed runs a tunnel in memory, and returns its ends and when it ended.
func timed(s *Set, o Options) (client, upstream *memory, result func() (Result, time.Duration)) {
	client, nearClient := memoryPair()
	upstream, nearUpstream := memoryPair()
	began := time.Now()
	c := carryOver(s, client, nearClient, upstream, nearUpstream, o)
	return client, upstream, func() (Result, time.Duration) { r := <-c.result; return r, time.Since(began) }
}

func TestIdleEndsWhatIsSilentBothWays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s Set
		client, upstream, result := timed(&s, Options{Idle: time.Minute})
		for range 3 { // one way is enough, either one
			time.Sleep(50 * time.Second)
			write(t, client, "a")
			want(t, upstream, "a")
			time.Sleep(50 * time.Second)
			write(t, upstream, "b")
			want(t, client, "b")
		}
		if r, at := result(); r != (Result{End: Idle, FromClient: 3, FromUpstream: 3}) || at != 6*50*time.Second+time.Minute {
			t.Errorf("%+v after %v", r, at)
		}
		if _, err := client.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("the client is still connected: %v", err)
		}
		if _, err := upstream.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("the upstream is still connected: %v", err)
		}
	})
}

func TestWithoutIdleSilenceIsNoEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s Set
		client, upstream, result := timed(&s, Options{})
		time.Sleep(1000 * time.Hour)
		write(t, client, "a")
		want(t, upstream, "a")
		_, _ = client.CloseWrite(), upstream.CloseWrite()
		if r, _ := result(); r.End != Closed {
			t.Errorf("%+v", r)
		}
	})
}

// A peer that takes nothing keeps a write waiting; nothing moves then.
func TestIdleEndsABlockedWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s Set
		client, _, result := timed(&s, Options{Idle: time.Minute})
		write(t, client, "nobody reads this")
		if r, at := result(); r.End != Idle || r.FromClient != 0 || at != time.Minute {
			t.Errorf("%+v after %v", r, at)
		}
	})
}

func TestLingerEndsASilentHalf(t *testing.T) {
	for name, c := range map[string]struct {
		options Options
		patient time.Duration
		end     End
	}{
		"by default":            {Options{}, defaultLinger, Lingered},
		"as set":                {Options{Linger: time.Second}, time.Second, Lingered},
		"below a longer idle":   {Options{Linger: time.Second, Idle: time.Hour}, time.Second, Lingered},
		"never beyond the idle": {Options{Linger: time.Hour, Idle: time.Second}, time.Second, Lingered},
	} {
		for _, first := range []string{"client", "upstream"} {
			synctest.Test(t, func(t *testing.T) {
				var s Set
				client, upstream, result := timed(&s, c.options)
				a, b := client, upstream
				if first == "upstream" {
					a, b = b, a
				}
				time.Sleep(c.patient / 2)
				if err := a.CloseWrite(); err != nil {
					t.Fatal(err)
				}
				if _, err := b.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
					t.Fatalf("the end of the half did not arrive: %v", err)
				}
				for range 3 {
					time.Sleep(c.patient / 2)
					write(t, b, "x")
					want(t, a, "x")
				}
				if r, at := result(); r.End != c.end || at != 4*(c.patient/2)+c.patient {
					t.Errorf("%s, %s first: %+v after %v", name, first, r, at)
				}
			})
		}
	}
}

// A half that ends long after the last byte does not find its time over.
func TestLingerBeginsWithTheEndOfTheHalf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s Set
		client, upstream, result := timed(&s, Options{Linger: time.Second})
		time.Sleep(time.Hour)
		_ = client.CloseWrite()
		synctest.Wait()
		time.Sleep(time.Second / 2)
		write(t, upstream, "answer")
		want(t, client, "answer")
		_ = upstream.CloseWrite()
		if r, _ := result(); r.End != Closed || r.FromUpstream != 6 {
			t.Errorf("%+v", r)
		}
	})
}

// Who sends to a peer that takes no more may still be told what it had to say.
func TestLastWordsOfAPeerThatTakesNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s Set
		client, upstream, result := timed(&s, Options{})
		upstream.r.CloseWithError(io.ErrClosedPipe)
		write(t, client, "too late")
		synctest.Wait()
		write(t, upstream, "go away")
		want(t, client, "go away")
		_ = upstream.CloseWrite()
		_ = client.CloseWrite()
		if r, _ := result(); r.End != Broken || r.Err == nil || r.FromUpstream != 7 {
			t.Errorf("%+v", r)
		}
	})
}
