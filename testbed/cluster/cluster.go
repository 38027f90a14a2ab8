// Package cluster runs a PostgreSQL server of its own: found or installed, initialised, started as a direct child,
// stopped with its parent.
//
// It owns the server process and its folder. It knows nothing of tests (the demonstration uses it too), creates no
// databases and no roles besides the superuser; what runs in the cluster belongs to the caller.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"testbed/process"
)

// User is the superuser of every cluster.
const User = "postgres"

const (
	stopGrace    = 30 * time.Second // for a fast shutdown with its checkpoint
	startTimeout = 60 * time.Second // for recovery after a kill, on a slow machine
	startTries   = 5                // when somebody else takes the free port first
)

// Options of one cluster. The zero value is a throw-away cluster on a free port that asks for no password.
type Options struct {
	// Dir keeps the cluster; one that is already there is started again. Empty: a temporary folder, which Stop removes.
	// When this process runs as root and its unprivileged user cannot reach Dir, another folder is taken: see Postgres.Dir.
	Dir string
	// Port on 127.0.0.1; 0 takes a free one.
	Port int
	// Password of the superuser, then asked for by SCRAM. Empty: everybody on this machine is trusted.
	// It only counts when the cluster is created.
	Password string
	// Template is copied instead of initialising a cluster, where Dir has none yet; nil initialises. Its copies have no password.
	Template *Template
	// Settings override those of the server, such as "fsync": "off".
	Settings map[string]string
	// Log gets one line per start and stop; nil discards them.
	Log *slog.Logger
}

// Postgres is one running (or killed) cluster.
type Postgres struct {
	binaries  Binaries
	user      *account // nil: as ourselves
	dir       string
	password  string
	settings  map[string]string
	log       *slog.Logger
	temporary bool
	anyPort   bool

	mu      sync.Mutex // guards what a restart changes
	port    int
	process *process.Process
}

// Start creates the cluster where there is none, starts it, and blocks until it answers queries, for at most a minute.
// The server runs until Stop or Kill, or on Linux until this process dies; ctx bounds only the starting.
func Start(ctx context.Context, options Options) (*Postgres, error) {
	p, err := prepare(ctx, options)
	if err != nil {
		return nil, err
	}
	if err := p.make(ctx, options.Template); err != nil {
		return nil, errors.Join(err, p.remove())
	}
	if err := p.start(ctx); err != nil {
		return nil, errors.Join(err, p.remove())
	}
	return p, nil
}

// prepare makes the folder of a cluster that is not there yet, or does not run.
func prepare(ctx context.Context, options Options) (*Postgres, error) {
	log := options.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	binaries, err := FindOrInstall(ctx, log)
	if err != nil {
		return nil, err
	}
	user, err := unprivileged()
	if err != nil {
		return nil, err
	}
	dir, err := home(options.Dir, user, log)
	if err != nil {
		return nil, err
	}
	return &Postgres{
		binaries: binaries, user: user, dir: dir, password: options.Password, settings: options.Settings, log: log,
		temporary: options.Dir == "", port: options.Port, anyPort: options.Port == 0,
	}, nil
}

// URL addresses a database of the cluster as the superuser. The name is not checked and the database not created.
func (p *Postgres) URL(database string) string {
	u := url.URL{
		Scheme: "postgres", Host: net.JoinHostPort("127.0.0.1", strconv.Itoa(p.Port())), Path: "/" + database,
		User: url.User(User), RawQuery: "sslmode=disable",
	}
	if p.password != "" {
		u.User = url.UserPassword(User, p.password)
	}
	return u.String()
}

// Port on 127.0.0.1. It stays the same across Restart.
func (p *Postgres) Port() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.port
}

// PID of the server's first process.
func (p *Postgres) PID() int { return p.current().PID() }

// Done is closed when the server process that runs now has ended, wanted or not.
func (p *Postgres) Done() <-chan struct{} { return p.current().Done() }

// Dir holds the cluster: "data", and the server's log in "postgres.log". It is the folder asked for unless that could not be used.
func (p *Postgres) Dir() string { return p.dir }

// Binaries is the installation that the cluster runs on.
func (p *Postgres) Binaries() Binaries { return p.binaries }

// Stop shuts down fast (sessions are ended, everything committed is kept) and blocks until the server is gone. A temporary
// folder is removed, and so its server is not given the time to write anything more. To stop what does not run any more is
// no error.
func (p *Postgres) Stop() error {
	how := syscall.SIGINT
	if p.temporary {
		how = syscall.SIGQUIT
	}
	return errors.Join(p.shutdown(how), p.remove())
}

// Kill is the power cut: SIGKILL to the server's first process, on which the others end themselves. It blocks until all of
// them are gone, because a server cannot start beside the remains of its predecessor. It removes nothing: Restart recovers.
func (p *Postgres) Kill() error {
	server := p.current()
	if err := server.Kill(); err != nil {
		return fmt.Errorf("kill PostgreSQL in %s: %w", p.dir, err)
	}
	p.log.Info("PostgreSQL killed", "dir", p.dir)
	return p.awaitGone(server)
}

// awaitGone blocks until nothing of the server is left. A session that computes without ever waiting notices the death
// of the first process only when it is done.
func (p *Postgres) awaitGone(server *process.Process) error {
	late := time.NewTimer(stopGrace)
	defer late.Stop()
	select {
	case <-server.Gone():
		return nil
	case <-late.C:
		return fmt.Errorf("stop PostgreSQL in %s: sessions of the dead server are still running after %s", p.dir, stopGrace)
	}
}

// Restart starts the server again on the same folder and port, after shutting it down fast where it still runs. The settings,
// when not nil, replace those given before. It blocks like Start.
func (p *Postgres) Restart(ctx context.Context, settings map[string]string) error {
	if err := p.shutdown(syscall.SIGINT); err != nil {
		return err
	}
	if settings != nil {
		p.settings = settings
	}
	p.anyPort = false
	return p.start(ctx)
}

func (p *Postgres) current() *process.Process {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.process
}

// shutdown is fast (SIGINT) or immediate (SIGQUIT), and a kill where that takes too long: the data survive all three. It
// blocks until nothing is left, also of a server that died by itself.
func (p *Postgres) shutdown(how syscall.Signal) error {
	server := p.current()
	if server.Running() {
		if err := server.Stop(how, stopGrace); err != nil {
			return fmt.Errorf("stop PostgreSQL in %s: %w", p.dir, err)
		}
		p.log.Info("PostgreSQL stopped", "dir", p.dir)
	}
	return p.awaitGone(server)
}

func (p *Postgres) remove() error {
	if !p.temporary {
		return nil
	}
	return os.RemoveAll(p.dir)
}

func (p *Postgres) data() string    { return filepath.Join(p.dir, "data") }
func (p *Postgres) half() string    { return p.data() + ".half" }
func (p *Postgres) logFile() string { return filepath.Join(p.dir, "postgres.log") }
