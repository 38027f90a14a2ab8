package main

import (
	"context"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

// farewell is how long a second signal waits for goodbyes.
const farewell = time.Second

// goodbye is what is told to others even by a process that is ended at once.
type goodbye struct {
	mu    sync.Mutex
	words []func() // guarded by mu; each returns when it has been said
}

func (g *goodbye) add(words func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.words = append(g.words, words)
}

// say returns when all has been said, at the latest after farewell.
func (g *goodbye) say() {
	g.mu.Lock()
	defer g.mu.Unlock()
	said := make(chan bool)
	go func() {
		var all sync.WaitGroup
		for _, words := range g.words {
			all.Go(words)
		}
		all.Wait()
		close(said)
	}()
	select {
	case <-said:
	case <-time.After(farewell):
	}
}

// interrupted returns a context that ends with the first signal to end. The second
// one ends the process at once, as people expect, but for its goodbyes; the third
// does not wait for these.
func interrupted(last *goodbye) context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		cancel()
		second := <-signals
		signal.Reset(os.Interrupt, syscall.SIGTERM)
		last.say()
		if s, ok := second.(syscall.Signal); !ok || syscall.Kill(os.Getpid(), s) != nil {
			os.Exit(1)
		}
	}()
	return ctx
}
