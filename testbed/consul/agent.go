package consul

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"testbed/process"
)

const (
	stopGrace    = 10 * time.Second
	startTimeout = 60 * time.Second
	startTries   = 5
)

// errDied means that the agent ended before it was ready; a lost race for a port looks like that.
var errDied = errors.New("the agent ended before it was ready")

// Options of one agent. The zero value is fine.
type Options struct {
	// ConfigDir holds more configuration, such as service definitions, in files that end in .json or .hcl.
	ConfigDir string
	// Config is more configuration, in HCL.
	Config string
	// Advertise is the address at which the servers of a Cluster look for one another, at the ports of Peering; they listen
	// at 127.0.0.1. Whoever gives another one than that, which is the default, has to carry what goes there: see Between.
	Advertise string
	// Between, if given, is called with the servers of a Cluster before they start, once for each attempt to find them ports.
	Between func(servers []*Agent) error
	// Log hears of the building, which takes minutes; nil discards it.
	Log *slog.Logger
}

// Agent is a Consul server on free ports of 127.0.0.1, with a folder of its own: alone, or one of a Cluster.
type Agent struct {
	binary  string
	dir     string
	options Options
	node    string
	peers   []int // serf ports of the whole cluster; of one alone: none

	mu      sync.Mutex // guards what a restart changes
	process *process.Process
	ports   []int // http, server, serf
}

// Start starts an agent and blocks until it has elected itself and answers, for at most a minute. It runs until Stop,
// or on Linux until this process dies; ctx bounds only the starting.
func Start(ctx context.Context, options Options) (*Agent, error) {
	log := options.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	binary, err := Find(ctx, log)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "consul-")
	if err != nil {
		return nil, fmt.Errorf("make folder for Consul: %w", err)
	}
	a := &Agent{binary: binary, dir: dir, options: options, node: "testbed"}
	for range startTries {
		if a.ports, err = process.FreePorts(3); err != nil {
			break
		}
		if err = a.start(ctx); err == nil || !errors.Is(err, errDied) {
			break
		}
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return a, nil
}

// Address of the HTTP API, as host:port. It stays the same across Restart.
func (a *Agent) Address() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(a.ports[0]))
}

// Peering are the ports at which the server hears others: of its RPC and Raft, by TCP, and of its gossip, by TCP and UDP.
func (a *Agent) Peering() (server, serf int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.ports[1], a.ports[2]
}

// PID is the id of the agent's process, also of one that has ended; 0: there was none.
func (a *Agent) PID() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.process == nil {
		return 0
	}
	return a.process.PID()
}

// Stop ends the agent as an outage does, without leaving the cluster, and blocks until it is gone. Its data stay for Restart.
func (a *Agent) Stop() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.process == nil {
		return nil // it was never spawned
	}
	return a.process.Stop(syscall.SIGTERM, stopGrace)
}

// Running says whether the process is there.
func (a *Agent) Running() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.process != nil && a.process.Running()
}

// Kill ends the agent as a crash does, and blocks until it is gone. Its data stay for Restart.
func (a *Agent) Kill() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.process.Kill()
}

// Signal sends the agent's process one signal, such as to stand still and to go on.
func (a *Agent) Signal(signal os.Signal) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.process.Signal(signal)
}

// Lose stops the agent and removes its data: Restart brings up one that knows nothing.
func (a *Agent) Lose() error {
	return errors.Join(a.Stop(), os.RemoveAll(filepath.Join(a.dir, "data")))
}

// Restart starts the agent again with the same ports and data, after stopping it where it still runs. It blocks like Start.
func (a *Agent) Restart(ctx context.Context) error {
	if err := a.Stop(); err != nil {
		return err
	}
	// Its ports are promised to nobody meanwhile: whoever has got one may let go of it soon.
	retry := time.NewTicker(500 * time.Millisecond)
	defer retry.Stop()
	for try := 1; ; try++ {
		err := a.start(ctx)
		if !errors.Is(err, errDied) || try == 20 {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-retry.C:
		}
	}
}

// Close stops the agent and removes its data.
func (a *Agent) Close() error {
	return errors.Join(a.Stop(), os.RemoveAll(a.dir))
}

func (a *Agent) start(ctx context.Context) error {
	server, err := a.spawn()
	if err != nil {
		return err
	}
	if err := a.awaitReady(ctx, server); err != nil {
		if stopErr := server.Kill(); stopErr != nil {
			return errors.Join(err, stopErr)
		}
		return err
	}
	return nil
}

func (a *Agent) spawn() (*process.Process, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	out, err := os.Create(a.logFile())
	if err != nil {
		return nil, fmt.Errorf("open the agent's log: %w", err)
	}
	defer out.Close() //nolint:errcheck // the child has its own descriptor; nothing was written through this one
	config := fmt.Sprintf(`
		ports              { http = %d, server = %d, serf_lan = %d, serf_wan = -1, dns = -1, grpc = -1, grpc_tls = -1 }
		performance        { raft_multiplier = 1 }
		leave_on_terminate = false
		disable_update_check = true
		retry_interval = "1s"
	`, a.ports[0], a.ports[1], a.ports[2])
	args := []string{"agent", "-server", fmt.Sprintf("-bootstrap-expect=%d", a.size()), "-bind=127.0.0.1", "-client=127.0.0.1",
		"-node=" + a.node, "-log-level=warn", "-data-dir=" + filepath.Join(a.dir, "data"), "-hcl=" + config}
	advertise := "127.0.0.1"
	if a.options.Advertise != "" {
		advertise = a.options.Advertise
		args = append(args, "-advertise="+advertise)
	}
	for _, port := range a.peers {
		args = append(args, fmt.Sprintf("-retry-join=%s:%d", advertise, port))
	}
	if a.options.Config != "" {
		args = append(args, "-hcl="+a.options.Config)
	}
	if a.options.ConfigDir != "" {
		args = append(args, "-config-dir="+a.options.ConfigDir)
	}
	cmd := exec.Command(a.binary, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = a.dir, out, out
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + a.dir}
	if a.process, err = process.Start(cmd, syscall.SIGTERM); err != nil {
		return nil, err
	}
	return a.process, nil
}

// awaitReady polls, because an agent has no other sign of being ready that its parent could wait for.
func (a *Agent) awaitReady(ctx context.Context, server *process.Process) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	poll := time.NewTicker(50 * time.Millisecond)
	defer poll.Stop()
	var last error
	for {
		if last = a.ask(ctx); last == nil {
			return nil
		}
		select {
		case <-server.Done():
			text, err := os.ReadFile(a.logFile())
			return errors.Join(fmt.Errorf("start Consul: %w: %w\n%s", errDied, server.Err(), text), err)
		case <-ctx.Done():
			return fmt.Errorf("wait for Consul: %w (last answer: %w)", context.Cause(ctx), last)
		case <-poll.C:
		}
	}
}

// size is how many servers there are.
func (a *Agent) size() int { return max(1, len(a.peers)) }

// ask is satisfied when there is a leader and every node is in the catalog: from then on reads and writes succeed.
func (a *Agent) ask(ctx context.Context) error {
	leader, err := a.leader(ctx)
	if err != nil {
		return err
	}
	if want := ":" + strconv.Itoa(a.ports[1]); a.size() == 1 && !strings.HasSuffix(leader, want) || leader == "" {
		return fmt.Errorf("leader is %q", leader)
	}
	var nodes []struct{ Node string }
	if err := a.get(ctx, "/v1/catalog/nodes", &nodes); err != nil {
		return err
	}
	if len(nodes) < a.size() {
		return fmt.Errorf("%d nodes in the catalog", len(nodes))
	}
	return nil
}

// leader is the address of the server that leads, as this one knows it; empty when it knows none.
func (a *Agent) leader(ctx context.Context) (leader string, err error) {
	err = a.get(ctx, "/v1/status/leader", &leader)
	return leader, err
}

func (a *Agent) get(ctx context.Context, path string, into any) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+a.Address()+path, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s: %s", path, response.Status, body)
	}
	return json.Unmarshal(body, into)
}

func (a *Agent) logFile() string { return filepath.Join(a.dir, "consul.log") }
