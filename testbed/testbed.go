// Package testbed gives tests the real thing: PostgreSQL databases and Consul agents that the test process starts itself
// and that end with it.
//
// It owns what it starts, and only that: one cluster per side, started when the first test asks for it and shared by all
// tests of the process, with a database per test. Schemas, roles and rows belong to the tests. Every function here skips
// the test under -short, and fails it, with the line to type, when what it needs is neither there nor installable.
//
// Roles, replication slots and replication origins are shared by all databases of a PostgreSQL cluster: tests that create
// them with fixed names, or that change the server itself, ask for a cluster of their own with Cluster.
package testbed

import (
	"errors"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"testing"
)

// running is what this process has started and must stop. It is the process's own state, like its children are, and so
// the one variable that has to be global.
var running stoppers

type stoppers struct {
	mu    sync.Mutex
	stops []func() error // guarded by mu; last started is stopped first
}

func (s *stoppers) add(stop func() error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stops = append(s.stops, stop)
}

func (s *stoppers) stopAll() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for i := len(s.stops) - 1; i >= 0; i-- {
		errs = append(errs, s.stops[i]())
	}
	s.stops = nil
	return errors.Join(errs...)
}

// Main runs a package's tests, stops what they started, and exits: `func TestMain(m *testing.M) { testbed.Main(m) }`.
// An interrupted run stops everything as well.
func Main(m *testing.M) {
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	go func() {
		<-interrupted
		os.Exit(finish(130))
	}()
	os.Exit(finish(m.Run()))
}

// finish stops everything; what cannot be stopped makes a good run a failed one.
func finish(code int) int {
	if err := running.stopAll(); err != nil {
		logger().Error("stop what the tests started", "error", err)
		return max(code, 1)
	}
	return code
}

// logger speaks of the rare and the slow (an installation, a build): what happens per test is told to the test.
func logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(os.Stderr, nil)).With("from", "testbed")
}

// needsServers skips under -short: unit tests start no servers.
func needsServers(t testing.TB) {
	t.Helper()
	if testing.Short() {
		t.Skip("needs servers; run without -short")
	}
}
