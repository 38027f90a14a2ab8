package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"testbed/cluster"
	"testbed/process"
)

// times are the leases of a run, and how long a fault lasts.
type times struct {
	text  string // in a configuration
	name  string
	fault time.Duration
	well  time.Duration // after which all has to be well again
}

var (
	// short leases let the whole matrix be run; a fault lasts a second beyond the longest of them.
	short = times{name: "short leases", text: "switch: {gap: 1s, lease: 1500ms, age: 4s}\nleases: {controller: 1500ms, proxy: 2s}\n", fault: 3 * time.Second, well: 45 * time.Second}
	// long ones are the defaults.
	long = times{name: "default leases", fault: 30 * time.Second, well: 2 * time.Minute}
)

// settings of the databases. Processes are killed and no machine is: what was written to the kernel is durable.
var settings = map[string]string{
	"wal_level": "logical", "fsync": "off", "full_page_writes": "off", "synchronous_commit": "on", "shared_buffers": "64MB", "max_wal_size": "512MB",
	"max_connections": "200", "jit": "off", "timezone": "UTC", "log_checkpoints": "off",
}

// world is everything that runs.
type world struct {
	times
	dir  string
	keep bool

	databases   [2]*cluster.Postgres // legacy, extracted
	data        [2]*link             // to them
	storage     *storage
	store       *link    // to it
	admin       [2]*link // to the proxies' admin addresses
	controllers [2]*program
	proxies     [2]*program
	apps        [2]*app
	roster      roster
	points      *points
	load        *load
	gates       *watcher
	values      map[int]int64 // registers at the last rest
	closers     []func() error
}

const (
	legacy    = 0
	extracted = 1
)

var names = [2]string{"shop", "orders"} // of the databases

func newWorld(ctx context.Context, o options, t times) (w *world, err error) {
	w = &world{times: t, keep: o.keep || o.dir != "", values: map[int]int64{}, roster: roster{pids: map[string]int{}}}
	if o.dir != "" { // a world has nothing of the one before
		w.dir = filepath.Join(o.dir, strings.ReplaceAll(t.name, " ", "-"))
	} else {
		if w.dir, err = os.MkdirTemp("", "chaos-"); err != nil {
			return nil, err
		}
	}
	if w.dir, err = filepath.Abs(w.dir); err == nil {
		err = os.MkdirAll(w.dir, 0o755)
	}
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			w.keep = true
			err = errors.Join(err, w.close())
		}
	}()
	if err := w.servers(ctx); err != nil {
		return w, err
	}
	if err := w.applications(ctx); err != nil {
		return w, err
	}
	if err := w.stranglers(ctx, o); err != nil {
		return w, err
	}
	w.load = newLoad([]string{"http://" + w.proxies[0].listen, "http://" + w.proxies[1].listen})
	w.load.start(ctx, o.rate, o.seed)
	w.closers = append(w.closers, func() error { w.load.close(); return nil })
	w.gates = w.watch()
	w.closers = append(w.closers, func() error { w.gates.close(); return nil })
	return w, nil
}

// servers starts databases and Consul, and the links to them.
func (w *world) servers(ctx context.Context) error {
	var starting sync.WaitGroup
	var errs [3]error
	for side := range w.databases {
		starting.Go(func() { w.databases[side], errs[side] = cluster.Start(ctx, cluster.Options{Settings: settings}) })
	}
	starting.Go(func() { w.storage, errs[2] = newStorage(ctx) })
	starting.Wait()
	for _, d := range w.databases {
		if d != nil {
			w.closers = append(w.closers, d.Stop)
		}
	}
	if w.storage != nil {
		w.closers = append(w.closers, w.storage.close)
	}
	if err := errors.Join(errs[:]...); err != nil {
		return err
	}
	for side, d := range w.databases {
		if err := execute(ctx, d.URL("postgres"), `CREATE DATABASE `+names[side]); err != nil {
			return err
		}
		l, err := newLink(func(int) string { return fmt.Sprintf("127.0.0.1:%d", d.Port()) }, w.roster.all)
		if err != nil {
			return err
		}
		w.data[side] = l
		w.closers = append(w.closers, func() error { l.close(); return nil })
	}
	l, err := newLink(func(pid int) string { return w.storage.entrance(w.roster.name(pid)) }, w.roster.all)
	w.store = l
	if err == nil {
		w.closers = append(w.closers, func() error { l.close(); return nil })
		err = execute(ctx, w.databases[legacy].URL(names[legacy]), schema)
	}
	return err
}

func execute(ctx context.Context, url, script string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer conn.Close(ctx) //nolint:errcheck // nothing is under way
	_, err = conn.Exec(ctx, script)
	return err
}

// through is the URL of a side's database by its link.
func (w *world) through(side int) (string, error) {
	u, err := url.Parse(w.databases[side].URL(names[side]))
	if err != nil {
		return "", err
	}
	u.Host = w.data[side].address()
	return u.String(), nil
}

func (w *world) applications(ctx context.Context) error {
	for side := range w.apps {
		database, err := w.through(side)
		if err != nil {
			return err
		}
		a, err := newApp(ctx, database)
		if err != nil {
			return err
		}
		w.apps[side] = a
		w.closers = append(w.closers, func() error { a.close(); return nil })
	}
	return nil
}

// configuration of a process. %s: listen, admin, advertise, legacy application, legacy database, Consul, state, times.
const configuration = `listen: %s
admin: %s
advertise: %s
legacy: {endpoints: [%s], database: "%s"}
store: consul
consul: {address: %s, service: ""}
state: %s
%sedge: {drain: {delay: 0s}}
log: {access: false, format: text}
`

const document = `capability: orders
routes:
  - {path: "/orders/**", class: write}
extracted: {endpoints: [%s]}
traffic: {owner: legacy, weight: 0%%}
resilience:
  breaker: {open_for: 500ms, open_most: 500ms}
data:
  state: stopped
  database: ${EXTRACTED_DATABASE_URL}
  tables:
    - table: orders
    - table: writes
    - table: counters
`

// stranglers starts the processes and brings the data to both sides.
func (w *world) stranglers(ctx context.Context, o options) error {
	binary, err := filepath.Abs(o.strangler)
	if err != nil {
		return err
	}
	if _, err := os.Stat(binary); err != nil {
		return fmt.Errorf("find the program: %w; make it with: make chaos", err)
	}
	// A socket's name has a hundred characters.
	sockets, err := os.MkdirTemp("", "points-")
	if err != nil {
		return err
	}
	w.closers = append(w.closers, func() error { return os.RemoveAll(sockets) })
	socket := filepath.Join(sockets, "s")
	if w.points, err = listenForPoints(socket); err != nil {
		return err
	}
	w.closers = append(w.closers, func() error { w.points.close(); return nil })
	databases := [2]string{}
	for side := range databases {
		if databases[side], err = w.through(side); err != nil {
			return err
		}
	}
	env := []string{"BREAKPOINTS=" + socket, "EXTRACTED_DATABASE_URL=" + databases[extracted]}
	for _, pair := range os.Environ() {
		if !strings.HasPrefix(pair, "STRANGLER_") && !strings.HasPrefix(pair, "PG") {
			env = append(env, pair)
		}
	}
	ports, err := process.FreePorts(8)
	if err != nil {
		return err
	}
	for i := range 2 {
		for j, verb := range []string{"controller", "proxy"} {
			listen, admin := fmt.Sprintf("127.0.0.1:%d", ports[4*i+2*j]), fmt.Sprintf("127.0.0.1:%d", ports[4*i+2*j+1])
			p := &program{name: fmt.Sprintf("%s-%d", verb, i+1), binary: binary, dir: w.dir, env: env, verb: verb, admin: admin, listen: listen, roster: &w.roster}
			advertised := admin
			if verb == "proxy" {
				l, err := newLink(func(int) string { return admin }, w.roster.all)
				if err != nil {
					return err
				}
				w.closers = append(w.closers, func() error { l.close(); return nil })
				w.admin[i], w.proxies[i], advertised = l, p, l.address()
			} else {
				w.controllers[i] = p
			}
			text := fmt.Sprintf(configuration, listen, admin, advertised, w.apps[legacy].url, databases[legacy], w.store.address(), filepath.Join(w.dir, "state-"+p.name), w.text)
			if err := os.WriteFile(filepath.Join(w.dir, p.name+".yaml"), []byte(text), 0o600); err != nil {
				return err
			}
		}
	}
	if err := os.WriteFile(filepath.Join(w.dir, "orders.yaml"), []byte(fmt.Sprintf(document, w.apps[extracted].url)), 0o600); err != nil {
		return err
	}
	if _, err := w.controllers[0].types(ctx, "document", "push", "orders.yaml"); err != nil {
		return err
	}
	for _, p := range append(w.controllers[:], w.proxies[:]...) {
		if err := p.start(ctx); err != nil {
			return err
		}
		w.closers = append(w.closers, func() error { return p.stop() })
	}
	for _, args := range [][]string{{"data", "plan", "orders", "--create"}, {"data", "start", "orders"}, {"data", "verify", "orders"}} {
		if err := w.types(ctx, args...); err != nil {
			return err
		}
	}
	return nil
}

// stop ends a process as it is; one that stands still or is gone ends as well.
func (p *program) stop() error {
	if p.Process == nil || !p.Running() {
		return nil
	}
	return p.Stop(os.Interrupt, stopTime)
}

// leader is the controller that leads.
func (w *world) leader(ctx context.Context) (*program, status, error) {
	var errs []error
	for _, c := range w.controllers {
		var s status
		err := c.ask(ctx, "/api/capabilities/orders", &s)
		if err == nil {
			return c, s, nil
		}
		errs = append(errs, err)
	}
	return nil, status{}, errors.Join(errs...)
}

// types types a command to the controller that leads, when one does.
func (w *world) types(ctx context.Context, args ...string) error {
	_, err := w.typed(ctx, args...)
	return err
}

// typed is types, and what was printed.
func (w *world) typed(ctx context.Context, args ...string) (string, error) {
	bounded, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	var leads *program
	err := until(bounded, func() (err error) {
		leads, _, err = w.leader(bounded)
		return err
	})
	if err != nil {
		return "", err
	}
	return leads.types(bounded, args...)
}

// close takes everything down, the last first.
func (w *world) close() error {
	var errs []error
	for i := len(w.closers) - 1; i >= 0; i-- {
		errs = append(errs, w.closers[i]())
	}
	w.closers = nil
	if !w.keep {
		errs = append(errs, os.RemoveAll(w.dir))
	}
	return errors.Join(errs...)
}
