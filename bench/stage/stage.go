// Package stage sets up the worked example on one machine: two PostgreSQL clusters with their roles, the monolith, the
// two services, a configuration and strangler itself; and takes all of it down again, and nothing else.
//
// It owns the processes and the folder. What is played on the stage belongs to its caller. It drives strangler as a
// person does, by its command line, and knows nothing of its insides.
package stage

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"testbed/cluster"
)

// Options of a stage.
type Options struct {
	Root      string // of the repository: bin/, config.yaml and routes/ are there
	Dir       string // for all state; emptied first
	Keep      bool   // leave the databases' folders behind when done
	UsualPort bool   // use the ports of the shipped configuration where they are free
	Log       *slog.Logger
}

// Stage is everything that runs. Its steps are called in the order in which they stand here.
type Stage struct {
	Options
	Ports     Ports
	token     string // shared by the services
	lock      *os.File
	legacy    *cluster.Postgres
	extracted *cluster.Postgres
	programs  []*program // in the order in which they were started
	died      chan error
}

// graceful is how long a program may take to end when it is told to.
const graceful = 15 * time.Second

// Open claims and empties the folder. It fails where another run uses it, and where a program has not been built.
func Open(o Options) (*Stage, error) {
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("find folder %s: %w", o.Dir, err)
	}
	o.Dir = dir
	s := &Stage{Options: o, token: rand.Text(), died: make(chan error, 8)}
	if err := s.built(); err != nil {
		return nil, err
	}
	if s.lock, err = claim(dir); err != nil {
		return nil, err
	}
	if s.Ports, err = choosePorts(o.UsualPort); err != nil {
		return nil, errors.Join(err, release(s.lock))
	}
	return s, nil
}

// Died delivers the end of a program that nobody asked to end.
func (s *Stage) Died() <-chan error { return s.died }

// Logs is the folder of everybody's logs.
func (s *Stage) Logs() string { return filepath.Join(s.Dir, "logs") }

// Proxy is where clients reach the shop.
func (s *Stage) Proxy() string { return url(s.Ports.Proxy) }

// Admin is where strangler's own API is.
func (s *Stage) Admin() string { return url(s.Ports.Admin) }

// StartShop starts the monolith and both services, and blocks until each answers, or ctx ends. The proxy through which
// the services reach the monolith is not there yet: they start without.
func (s *Stage) StartShop(ctx context.Context) error {
	if _, err := s.start(ctx, "monolith", "shop", url(s.Ports.Monolith)+"/healthz", s.shopEnv(), "serve"); err != nil {
		return err
	}
	for _, service := range []struct {
		name string
		port int
	}{{"orders", s.Ports.Orders}, {"catalog", s.Ports.Catalog}} {
		if err := s.StartService(ctx, service.name, service.port); err != nil {
			return err
		}
	}
	return nil
}

// StartService starts one extracted service, or starts it again.
func (s *Stage) StartService(ctx context.Context, name string, port int) error {
	env := []string{
		"LISTEN=" + address(port), "DATABASE_URL=" + RoleURL(s.extracted, name, name+"_app") + "&pool_min_conns=16",
		"SERVICE_TOKEN=" + s.token, "GATEWAY_URL=" + s.Proxy(), "LOG_LEVEL=warn",
	}
	_, err := s.start(ctx, name, name, url(port)+"/healthz", env, "serve")
	return err
}

// StartProxy starts strangler, proxy and controller in one, and blocks until it is ready.
func (s *Stage) StartProxy(ctx context.Context) error {
	_, err := s.start(ctx, "strangler", "strangler", s.Admin()+"/readyz", nil, "up", "-c", s.Config())
	return err
}

// Kill ends a program as a crash would, and blocks until it is gone.
func (s *Stage) Kill(name string) error {
	for _, p := range s.programs {
		if p.name == name && p.process.Running() {
			return p.kill()
		}
	}
	return fmt.Errorf("kill %s: it does not run", name)
}

// Close stops everything in the reverse order of starting, so that nobody loses what it stands on, and blocks until it
// is gone. Closing twice is harmless.
func (s *Stage) Close() error {
	var errs []error
	for len(s.programs) > 0 {
		last := len(s.programs) - 1
		errs = append(errs, s.programs[last].stop())
		s.programs = s.programs[:last]
	}
	errs = append(errs, s.closeDatabases())
	if s.lock != nil {
		errs = append(errs, release(s.lock))
		s.lock = nil
	}
	return errors.Join(errs...)
}

func (s *Stage) shopEnv() []string {
	return []string{
		"LISTEN=" + address(s.Ports.Monolith), "DATABASE_URL=" + RoleURL(s.legacy, "shop", "shop_app"),
		"SERVICE_TOKEN=" + s.token, "ORDERS_URL=" + s.Proxy(), "LOG_LEVEL=warn",
	}
}
