package consul

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"testbed/process"
)

// Cluster is several Consul servers that elect a leader among them.
type Cluster struct{ agents []*Agent }

// StartCluster starts that many servers and blocks until they have elected a leader and all know each other, for at most a
// minute each. They run like an Agent.
func StartCluster(ctx context.Context, size int, options Options) (*Cluster, error) {
	if options.Log == nil {
		options.Log = slog.New(slog.DiscardHandler)
	}
	binary, err := Find(ctx, options.Log)
	if err != nil {
		return nil, err
	}
	for range startTries {
		c := &Cluster{}
		if err = c.start(ctx, binary, size, options); err == nil {
			return c, nil
		}
		// A port that is taken looks like the one or the other.
		if err = errors.Join(err, c.Close()); !errors.Is(err, errDied) && !errors.Is(err, syscall.EADDRINUSE) {
			break
		}
	}
	return nil, fmt.Errorf("start %d Consul servers: %w", size, err)
}

// start spawns all before it waits for any: none is ready before most are there.
func (c *Cluster) start(ctx context.Context, binary string, size int, options Options) error {
	ports, err := process.FreePorts(3 * size)
	if err != nil {
		return err
	}
	for i := range size {
		dir, err := os.MkdirTemp("", "consul-")
		if err != nil {
			return fmt.Errorf("make folder for Consul: %w", err)
		}
		own := []int{ports[i], ports[size+i], ports[2*size+i]}
		c.agents = append(c.agents, &Agent{
			binary: binary, dir: dir, options: options, node: fmt.Sprintf("testbed-%d", i), peers: ports[2*size:], ports: own,
		})
	}
	if options.Between != nil {
		if err := options.Between(c.agents); err != nil {
			return err
		}
	}
	for _, a := range c.agents {
		if _, err := a.spawn(); err != nil {
			return err
		}
	}
	for _, a := range c.agents {
		if err := a.awaitReady(ctx, a.process); err != nil {
			return err
		}
	}
	return nil
}

// Agents lists all servers, those that were stopped included, always in the same order.
func (c *Cluster) Agents() []*Agent { return c.agents }

// Leader blocks until the servers that run agree on one of them as the leader, for at most a minute, and returns it.
// Servers to leave out are not asked, and do not lead: they are cut off from the others.
func (c *Cluster) Leader(ctx context.Context, leaveOut ...*Agent) (*Agent, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	asked := slices.DeleteFunc(slices.Clone(c.agents), func(a *Agent) bool { return slices.Contains(leaveOut, a) })
	poll := time.NewTicker(50 * time.Millisecond)
	defer poll.Stop()
	for {
		if leader := elected(ctx, asked); leader != nil {
			return leader, nil
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for a leader of Consul: %w", context.Cause(ctx))
		case <-poll.C:
		}
	}
}

// elected is the leader that everybody who runs names, if it runs itself.
func elected(ctx context.Context, agents []*Agent) *Agent {
	named := ""
	var leader *Agent
	for _, a := range agents {
		if !a.Running() {
			continue
		}
		address, err := a.leader(ctx)
		if err != nil || address == "" || named != "" && address != named {
			return nil
		}
		named = address
	}
	for _, a := range agents {
		if a.Running() && strings.HasSuffix(named, ":"+strconv.Itoa(a.ports[1])) {
			leader = a
		}
	}
	return leader
}

// Close stops all servers and removes their data.
func (c *Cluster) Close() error {
	var errs []error
	for _, a := range c.agents {
		errs = append(errs, a.Close())
	}
	return errors.Join(errs...)
}
