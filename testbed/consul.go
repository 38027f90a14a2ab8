package testbed

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"testbed/consul"
)

// agentTimeout bounds the first use of Consul, which may have to build it.
const agentTimeout = 25 * time.Minute

// theAgent is shared by the tests of this process.
var theAgent struct {
	once  sync.Once
	agent *consul.Agent
	err   error
}

// Consul returns the HTTP address (host:port) of a Consul agent that all tests of this process share: keys and services
// need names of their own. The first test on a machine may wait five minutes for the agent to be built, so a run that
// needs it wants -timeout 30m.
func Consul(t testing.TB) string {
	t.Helper()
	needsServers(t)
	theAgent.once.Do(func() {
		// Not bounded by the first test's context: the agent outlives the test.
		ctx, cancel := context.WithTimeout(context.Background(), agentTimeout)
		defer cancel()
		theAgent.agent, theAgent.err = consul.Start(ctx, consul.Options{Log: logger()})
		if theAgent.err == nil {
			running.add(theAgent.agent.Close)
		}
	})
	if theAgent.err != nil {
		t.Fatal(fmt.Errorf("start a throw-away Consul: %w", theAgent.err))
	}
	return theAgent.agent.Address()
}

// ConsulServer starts a Consul agent for this test alone, to be stopped and restarted at will, and closes it at the end.
// The configuration, in HCL, is added to its own.
func ConsulServer(t testing.TB, config ...string) *consul.Agent {
	t.Helper()
	needsServers(t)
	own, err := consul.Start(t.Context(), consul.Options{Config: strings.Join(config, "\n"), Log: logger()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := own.Close(); err != nil {
			t.Error(err)
		}
	})
	return own
}

// ConsulCluster starts three Consul servers for this test alone, of which any may be stopped, and closes them at the end.
func ConsulCluster(t testing.TB) *consul.Cluster {
	t.Helper()
	needsServers(t)
	own, err := consul.StartCluster(t.Context(), 3, consul.Options{Log: logger()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := own.Close(); err != nil {
			t.Error(err)
		}
	})
	return own
}
