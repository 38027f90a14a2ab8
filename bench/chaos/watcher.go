package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// watchEvery is how often both gates are looked at.
const watchEvery = 25 * time.Millisecond

// watcher looks for a moment at which both gates are open. It reads one, the other, and the first again: if that is open
// in the same epoch both times, it was open while the other was read.
type watcher struct {
	stop context.CancelFunc
	done sync.WaitGroup

	mu    sync.Mutex
	found []string // guarded by mu
	looks int      // guarded by mu
}

type gate struct {
	state string
	epoch int64
}

func (w *world) watch() *watcher {
	ctx, stop := context.WithCancel(context.Background())
	g := &watcher{stop: stop}
	g.done.Go(func() {
		var conns [2]*pgx.Conn
		tick := time.NewTicker(watchEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				for _, conn := range conns {
					if conn != nil {
						_ = conn.Close(context.Background()) // only read by
					}
				}
				return
			case <-tick.C:
			}
			g.look(ctx, w, &conns)
		}
	})
	return g
}

// look is once; a database that is away is looked at later.
func (g *watcher) look(ctx context.Context, w *world, conns *[2]*pgx.Conn) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	var seen [3]gate
	for i, side := range []int{legacy, extracted, legacy} {
		var err error
		if conns[side] == nil || conns[side].IsClosed() {
			if conns[side], err = pgx.Connect(ctx, w.databases[side].URL(names[side])); err != nil {
				conns[side] = nil
				return
			}
		}
		err = conns[side].QueryRow(ctx, `SELECT state, epoch FROM strangler.gate WHERE capability = 'orders'`).Scan(&seen[i].state, &seen[i].epoch)
		if err != nil {
			if !errors.Is(err, pgx.ErrNoRows) {
				_ = conns[side].Close(context.Background()) // another one is made
			}
			return
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.looks++
	if seen[0] == seen[2] && seen[0].state == "open" && seen[1].state == "open" {
		g.found = append(g.found, fmt.Sprintf("at %s both gates were open: legacy in epoch %d, extracted in %d", time.Now().Format("05.000"), seen[0].epoch, seen[1].epoch))
	}
}

func (g *watcher) take() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	found := g.found
	g.found = nil
	return found
}

func (g *watcher) close() {
	g.stop()
	g.done.Wait()
}
