package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"syscall"
	"time"

	"testbed/consul"
)

// peering is the address at which Consul's servers look for one another. They listen at 127.0.0.1, at the same ports.
const peering = "127.0.0.2"

// patience lets gossip take a server for dead after a dozen seconds, not after four: those who took each other for dead look
// for one another again only every half a minute, and a leader that gossip does not know gets no requests from followers.
const patience = `gossip_lan { suspicion_mult = 12 }`

// storage is three servers of Consul, each of which can be cut off from the others, and from the programs.
type storage struct {
	cluster *consul.Cluster
	doors   []*door // of the servers, in their order

	mu    sync.Mutex
	seats map[string]int // which server a program reaches, by its name; empty: who types commands. Guarded by mu
}

// door is all the links that lead to one server.
type door struct {
	port    int      // from which it sends packets
	rpc     *link    // Raft and what servers ask one another
	gossip  *link    // as far as it is TCP
	packets *packets // the rest of it
	clients *link    // its HTTP API
}

func newStorage(ctx context.Context) (s *storage, err error) {
	s = &storage{seats: map[string]int{}}
	s.cluster, err = consul.StartCluster(ctx, 3, consul.Options{Advertise: peering, Between: s.open, Config: patience})
	if err != nil {
		s.shut()
		return nil, err
	}
	return s, nil
}

// open makes the links to all servers.
func (s *storage) open(servers []*consul.Agent) error {
	s.shut() // of an attempt before
	pids := func() (list []int) {
		for _, a := range servers {
			list = append(list, a.PID())
		}
		return list
	}
	for _, a := range servers {
		d := &door{}
		s.doors = append(s.doors, d)
		var server int
		var errs [4]error
		server, d.port = a.Peering()
		d.rpc, errs[0] = carried(server, pids)
		d.gossip, errs[1] = carried(d.port, pids)
		d.packets, errs[2] = newPackets(fmt.Sprintf("%s:%d", peering, d.port), fmt.Sprintf("127.0.0.1:%d", d.port))
		d.clients, errs[3] = newLink(func(int) string { return a.Address() }, nil)
		if err := errors.Join(errs[:]...); err != nil {
			return err
		}
	}
	return nil
}

func carried(port int, pids func() []int) (*link, error) {
	return newLinkAt(fmt.Sprintf("%s:%d", peering, port), func(int) string { return fmt.Sprintf("127.0.0.1:%d", port) }, pids)
}

func (s *storage) shut() {
	for _, d := range s.doors {
		for _, l := range []*link{d.rpc, d.gossip, d.clients} {
			if l != nil {
				l.close()
			}
		}
		if d.packets != nil {
			d.packets.close()
		}
	}
	s.doors = nil
}

// close ends the servers as they are: nothing of them is wanted any more, and one that has just been cut off takes its time
// to go by itself.
func (s *storage) close() error {
	var errs []error
	for _, a := range s.cluster.Agents() {
		errs = append(errs, a.Kill())
	}
	errs = append(errs, s.cluster.Close())
	s.shut()
	return errors.Join(errs...)
}

// entrance is the address at which a program reaches its server, or the first that runs.
func (s *storage) entrance(name string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	agents := s.cluster.Agents()
	seat, is := s.seats[name]
	if !is || !agents[seat].Running() {
		seat = max(0, slices.IndexFunc(agents, (*consul.Agent).Running))
	}
	return s.doors[seat].clients.address()
}

// seat lets programs reach the server that leads, and all others another one.
func (s *storage) seat(leads int, near, far []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range near {
		s.seats[name] = leads
	}
	for _, name := range far {
		s.seats[name] = (leads + 1) % len(s.doors)
	}
}

// leader blocks until the servers agree on one, but for those to leave out.
func (s *storage) leader(ctx context.Context, leaveOut ...*consul.Agent) (i int, a *consul.Agent, err error) {
	if a, err = s.cluster.Leader(ctx, leaveOut...); err != nil {
		return 0, nil, err
	}
	return slices.Index(s.cluster.Agents(), a), a, nil
}

// whole blocks until all servers vote, and all take all others for alive. Those that go on remove one that has been away for long from their number, and let it
// vote again only ten seconds after its return: with another one away nobody could be elected then.
func (s *storage) whole(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return until(ctx, func() error {
		for _, a := range s.cluster.Agents() {
			var raft struct{ Servers []struct{ Voter bool } }
			var members []struct{ Status int }
			if err := errors.Join(inquire(ctx, a, "/v1/operator/raft/configuration?stale", &raft), inquire(ctx, a, "/v1/agent/members", &members)); err != nil {
				return err
			}
			voters, alive := 0, 0
			for _, server := range raft.Servers {
				if server.Voter {
					voters++
				}
			}
			for _, m := range members {
				if m.Status == 1 {
					alive++
				}
			}
			if voters != len(s.doors) || alive != len(s.doors) {
				return fmt.Errorf("a server of Consul knows of %d that vote and %d that are alive", voters, alive)
			}
		}
		return nil
	})
}

// inquire asks one server, past all links.
func inquire(ctx context.Context, a *consul.Agent, path string, into any) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+a.Address()+path, nil)
	if err != nil {
		return err
	}
	res, err := asked.Do(r)
	if err != nil {
		return err
	}
	defer res.Body.Close() //nolint:errcheck // only read
	if err := json.NewDecoder(res.Body).Decode(into); err != nil {
		return fmt.Errorf("%s of a server of Consul: %s: %w", path, res.Status, err)
	}
	return nil
}

// scatter places programs before a cell that disturbs Consul's leader: one controller and one proxy reach that server, the
// others another one. On the way there it is the controller that leads, on the way back the other one.
func (w *world) scatter(ctx context.Context, c cell) error {
	if err := w.storage.whole(ctx); err != nil {
		return fmt.Errorf("wait until Consul is whole: %w", err)
	}
	i, _, err := w.storage.leader(ctx)
	if err != nil {
		return err
	}
	active, _, err := w.leader(ctx)
	if err != nil {
		return err
	}
	other := w.controllers[0]
	if other == active {
		other = w.controllers[1]
	}
	near, far := []string{active.name, "", w.proxies[0].name}, []string{other.name, w.proxies[1].name}
	if c.To == "legacy" {
		near, far = far, near
	}
	w.storage.seat(i, near, far)
	w.store.dropAll()
	return nil
}

// disturb disturbs the server that leads.
func (s *storage) disturb(ctx context.Context, fault string) (heal func(context.Context) error, err error) {
	i, leads, err := s.leader(ctx)
	if err != nil {
		return nil, err
	}
	switch fault {
	case "killed":
		return leads.Restart, leads.Kill()
	case "stopped":
		return func(context.Context) error { return leads.Signal(syscall.SIGCONT) }, leads.Signal(syscall.SIGSTOP)
	}
	s.sever(i, leads.PID(), fault == "cut off", true)
	return func(ctx context.Context) error {
		// It is mended when the others have another leader: the fault is not that there is none.
		_, _, err := s.leader(ctx, leads)
		s.sever(i, leads.PID(), fault == "cut off", false)
		return err
	}, nil
}

// sever cuts a server off from the others or mends that, and from the programs that reach it where these are meant as well.
func (s *storage) sever(i, pid int, programs, cut bool) {
	for j, d := range s.doors {
		if j == i {
			d.rpc.set(0, cut)
			d.gossip.set(0, cut)
			d.packets.set(0, cut)
			continue
		}
		d.rpc.set(pid, cut)
		d.gossip.set(pid, cut)
		d.packets.set(s.doors[i].port, cut)
	}
	if programs {
		s.doors[i].clients.set(0, cut)
	}
}
