package proxy

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestClock(t *testing.T) {
	const limit = 10 * time.Second
	for _, c := range []struct {
		name string
		run  func(c *clock)
		want time.Duration // at which it expires; 0: never
	}{
		{"runs", func(*clock) {}, limit},
		{"stands while the client is waited for", func(c *clock) { c.wait(); time.Sleep(time.Hour) }, 0},
		{"goes on with what was left", func(c *clock) {
			time.Sleep(4 * time.Second)
			c.wait()
			time.Sleep(time.Minute)
			c.goOn(false)
		}, limit + time.Minute},
		{"goes on anew", func(c *clock) {
			time.Sleep(4 * time.Second)
			c.wait()
			time.Sleep(time.Minute)
			c.goOn(true)
		}, limit + time.Minute + 4*time.Second},
		{"stands until the last of two waits is over", func(c *clock) {
			c.wait()
			time.Sleep(time.Minute)
			c.wait()
			c.goOn(false)
			time.Sleep(time.Minute)
			c.goOn(false)
		}, limit + 2*time.Minute},
		{"is restarted", func(c *clock) { time.Sleep(4 * time.Second); c.restart() }, limit + 4*time.Second},
		{"is restarted while it stands", func(c *clock) {
			time.Sleep(4 * time.Second)
			c.wait()
			c.restart()
			c.goOn(false)
		}, limit + 4*time.Second},
		{"is stopped", func(c *clock) { c.stop(); c.wait(); c.goOn(true); c.restart() }, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began, expired := time.Now(), time.Duration(0)
				var k clock
				k.start(limit, func() { expired = time.Since(began) })
				c.run(&k)
				time.Sleep(time.Hour)
				synctest.Wait()
				if expired != c.want {
					t.Errorf("expired after %v, want %v", expired, c.want)
				}
			})
		})
	}
}

func TestClockCountsTheClientsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var k clock
		k.start(0, nil)
		time.Sleep(time.Second)
		k.wait()
		time.Sleep(time.Second)
		k.wait()
		time.Sleep(time.Second)
		k.goOn(true)
		time.Sleep(time.Second)
		if got := k.ofClient(); got != 3*time.Second {
			t.Errorf("%v while it is waited for", got)
		}
		k.goOn(true)
		time.Sleep(time.Second)
		if got := k.ofClient(); got != 3*time.Second {
			t.Errorf("%v after that", got)
		}
	})
}
