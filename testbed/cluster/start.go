package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"testbed/process"
)

// errPortTaken means that the server could not listen where it was told to.
var errPortTaken = errors.New("port taken")

// start runs the server; with a free choice of ports it tries another when one is lost to somebody else.
func (p *Postgres) start(ctx context.Context) error {
	for try := 1; ; try++ {
		if p.anyPort {
			ports, err := process.FreePorts(1)
			if err != nil {
				return err
			}
			p.setPort(ports[0])
		}
		err := p.startOnce(ctx)
		if err == nil || !p.anyPort || try == startTries || !errors.Is(err, errPortTaken) {
			return err
		}
	}
}

func (p *Postgres) setPort(port int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.port = port
}

func (p *Postgres) startOnce(ctx context.Context) error {
	if err := p.configure(); err != nil {
		return err
	}
	server, err := p.spawn()
	if err != nil {
		return err
	}
	p.mu.Lock()
	p.process = server
	p.mu.Unlock()
	began := time.Now()
	if err := p.awaitReady(ctx, server); err != nil {
		if stopErr := server.Stop(syscall.SIGQUIT, stopGrace); stopErr != nil {
			return errors.Join(err, stopErr)
		}
		return err
	}
	p.log.Info("PostgreSQL started", "dir", p.dir, "port", p.Port(), "pid", server.PID(),
		"version", p.binaries.Version, "took", time.Since(began).Round(time.Millisecond))
	return nil
}

// spawn starts the server with a new log file.
func (p *Postgres) spawn() (*process.Process, error) {
	out, err := os.OpenFile(p.logFile(), os.O_CREATE|os.O_TRUNC|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open the server's log: %w", err)
	}
	defer out.Close() //nolint:errcheck // the child has its own descriptor; nothing was written through this one
	cmd := p.command(context.Background(), "postgres", "-D", p.data())
	cmd.Stdout, cmd.Stderr = out, out
	return process.Start(cmd, syscall.SIGINT)
}

// command runs a program of the installation as the cluster's user, from the cluster's folder and with a clean
// environment, so that a PGPORT or a locale of the person at the terminal changes nothing.
func (p *Postgres) command(ctx context.Context, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, p.binaries.Path(program), args...)
	cmd.Dir = p.dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + p.dir, "LC_ALL=C", "TZ=UTC"}
	if path := os.Getenv("LOCPATH"); path != "" { // locales that are not installed
		cmd.Env = append(cmd.Env, "LOCPATH="+path)
	}
	if p.user != nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: p.user.credential()}
	}
	return cmd
}

// awaitReady polls until the server answers: it has no other sign of being ready that its parent could wait for.
func (p *Postgres) awaitReady(ctx context.Context, server *process.Process) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	var last error
	for {
		if last = p.ask(ctx); last == nil {
			return nil
		}
		select {
		case <-server.Done():
			return p.diedEarly(server)
		case <-ctx.Done():
			return fmt.Errorf("wait for PostgreSQL in %s: %w (last answer: %w)", p.dir, context.Cause(ctx), last)
		case <-poll.C:
		}
	}
}

// ask makes sure that it is this cluster that answers, and not another that won the race for the port.
func (p *Postgres) ask(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, p.URL("postgres"))
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	var dir string
	if err := conn.QueryRow(ctx, "show data_directory").Scan(&dir); err != nil {
		return err
	}
	if dir != p.data() {
		return fmt.Errorf("port %d belongs to the cluster in %s", p.Port(), dir)
	}
	return nil
}

func (p *Postgres) diedEarly(server *process.Process) error {
	text, err := os.ReadFile(p.logFile())
	if err != nil {
		return errors.Join(fmt.Errorf("start PostgreSQL in %s: %w", p.dir, server.Err()), err)
	}
	reason := server.Err()
	if strings.Contains(string(text), "could not create any TCP/IP sockets") {
		reason = errPortTaken
	}
	return fmt.Errorf("start PostgreSQL in %s on port %d: %w\n%s", p.dir, p.Port(), reason, tail(string(text), 20))
}
