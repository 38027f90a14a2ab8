package stage

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"testbed/process"
)

// readyTimeout is for a start on a busy machine.
const readyTimeout = 60 * time.Second

// program is one of the processes on the stage. Its output goes to logs/NAME.log.
type program struct {
	name    string
	log     string
	process *process.Process
	ending  atomic.Bool // somebody asked it to end
}

// start starts a program and blocks until its health is good, it ends, or ctx does.
func (s *Stage) start(ctx context.Context, name, binary, health string, env []string, args ...string) (*program, error) {
	p := &program{name: name, log: filepath.Join(s.Logs(), name+".log")}
	if err := p.spawn(s.command(binary, env, args)); err != nil {
		return nil, err
	}
	s.programs = append(s.programs, p)
	if err := p.awaitHealth(ctx, health); err != nil {
		return nil, err
	}
	go s.watch(p)
	return p, nil
}

// runOnce runs a program to its end.
func (s *Stage) runOnce(ctx context.Context, name, binary string, env []string, args ...string) error {
	p := &program{name: name, log: filepath.Join(s.Logs(), name+".log")}
	if err := p.spawn(s.command(binary, env, args)); err != nil {
		return err
	}
	select {
	case <-p.process.Done():
	case <-ctx.Done():
		return errors.Join(context.Cause(ctx), p.stop())
	}
	if err := p.process.Err(); err != nil {
		return fmt.Errorf("%s: %w; see %s\n%s", name, err, p.log, tail(p.log))
	}
	return nil
}

func (s *Stage) command(binary string, env, args []string) *exec.Cmd {
	cmd := exec.Command(s.binary(binary), args...)
	cmd.Dir, cmd.Env = s.Root, append(Environment(), env...)
	return cmd
}

// spawn starts the command with its output appended to the log.
func (p *program) spawn(cmd *exec.Cmd) error {
	out, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("start %s: %w", p.name, err)
	}
	defer out.Close() //nolint:errcheck // the child has its own descriptor; nothing was written through this one
	cmd.Stdout, cmd.Stderr = out, out
	p.process, err = process.Start(cmd, syscall.SIGTERM)
	return err
}

// Environment is ours without what would change a program's settings, those of PostgreSQL's clients included.
func Environment() []string {
	var env []string
	for _, pair := range os.Environ() {
		name, _, _ := strings.Cut(pair, "=")
		if !strings.HasPrefix(name, "STRANGLER_") && !strings.HasPrefix(name, "PG") {
			env = append(env, pair)
		}
	}
	return env
}

// watch tells when the program ends by itself.
func (s *Stage) watch(p *program) {
	<-p.process.Done()
	if !p.ending.Load() {
		s.died <- fmt.Errorf("%s ended by itself: %w; see %s\n%s", p.name, endOf(p.process), p.log, tail(p.log))
	}
}

func endOf(p *process.Process) error {
	if err := p.Err(); err != nil {
		return err
	}
	return errors.New("exit status 0")
}

// awaitHealth polls: a process has no other sign of being ready that its parent could wait for.
func (p *program) awaitHealth(ctx context.Context, health string) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	poll := time.NewTicker(50 * time.Millisecond)
	defer poll.Stop()
	for {
		last := ask(ctx, health)
		if last == nil {
			return nil
		}
		select {
		case <-p.process.Done():
			p.ending.Store(true)
			return fmt.Errorf("start %s: %w; see %s\n%s", p.name, endOf(p.process), p.log, tail(p.log))
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w (last answer: %w); see %s", p.name, context.Cause(ctx), last, p.log)
		case <-poll.C:
		}
	}
}

func ask(ctx context.Context, url string) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d", response.StatusCode)
	}
	return nil
}

func (p *program) kill() error {
	p.ending.Store(true)
	return p.process.Kill()
}

func (p *program) stop() error {
	p.ending.Store(true)
	if err := p.process.Stop(syscall.SIGTERM, graceful); err != nil {
		return fmt.Errorf("stop %s: %w", p.name, err)
	}
	return nil
}

// tail is the end of a log, to be shown with an error.
func tail(path string) string {
	const lines = 12
	text, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimRight(string(text), "\n"), "\n")
	return "  | " + strings.Join(all[max(0, len(all)-lines):], "\n  | ")
}
