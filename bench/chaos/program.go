package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"testbed/process"
)

const (
	readyTime = 60 * time.Second // on a busy machine
	stopTime  = 30 * time.Second
)

// program is one process of strangler: a controller or a proxy.
type program struct {
	name   string // of its configuration and log
	binary string
	dir    string
	env    []string
	verb   string // controller or proxy
	admin  string // host:port
	listen string // of a proxy: host:port
	roster *roster
	*process.Process
}

// roster is the process ids of all programs, for links, which have goroutines of their own.
type roster struct {
	mu   sync.Mutex
	pids map[string]int // by name of the program; guarded by mu
}

func (r *roster) note(name string, pid int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pids[name] = pid
}

// name of a program; empty: none of ours, or one that is no more.
func (r *roster) name(pid int) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	for name, of := range r.pids {
		if of == pid {
			return name
		}
	}
	return ""
}

func (r *roster) all() []int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Collect(maps.Values(r.pids))
}

var errEnded = errors.New("by itself")

// asked is for questions that a process which stands still must not keep.
var asked = &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

// start starts it and blocks until it answers.
func (p *program) start(ctx context.Context) error {
	out, err := os.OpenFile(filepath.Join(p.dir, p.name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("start %s: %w", p.name, err)
	}
	defer out.Close() //nolint:errcheck // the child has its own descriptor; nothing was written through this one
	cmd := exec.Command(p.binary, p.verb, "-c", p.name+".yaml")
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = p.dir, p.env, out, out
	if p.Process, err = process.Start(cmd, syscall.SIGTERM); err != nil {
		return err
	}
	p.roster.note(p.name, p.PID())
	ctx, cancel := context.WithTimeout(ctx, readyTime)
	defer cancel()
	err = until(ctx, func() error {
		if !p.Running() {
			return fmt.Errorf("it has ended: %w", errors.Join(errEnded, p.Err()))
		}
		return p.ask(ctx, "/healthz", nil)
	})
	if err != nil {
		return fmt.Errorf("start %s: %w", p.name, err)
	}
	return nil
}

// ask gets a page of the admin API and decodes it.
func (p *program) ask(ctx context.Context, path string, into any) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.admin+path, nil)
	if err != nil {
		return err
	}
	res, err := asked.Do(r)
	if err != nil {
		return err
	}
	defer res.Body.Close() //nolint:errcheck // only read
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s of %s: %d: %.300s", path, p.name, res.StatusCode, bytes.TrimSpace(text))
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(text, into)
}

// metrics are what it tells to whoever collects them.
func (p *program) metrics(ctx context.Context) (string, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.admin+"/metrics", nil)
	if err != nil {
		return "", err
	}
	res, err := asked.Do(r)
	if err != nil {
		return "", err
	}
	defer res.Body.Close() //nolint:errcheck // only read
	text, err := io.ReadAll(res.Body)
	return string(text), err
}

// types types a command of the process's configuration, and returns what it printed.
func (p *program) types(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, p.binary, append(args, "-c", p.name+".yaml")...)
	cmd.Dir, cmd.Env = p.dir, p.env
	out, err := cmd.CombinedOutput()
	text := strings.TrimSpace(string(out))
	if err != nil {
		return text, fmt.Errorf("strangler %s: %w: %s", strings.Join(args, " "), err, lastLines(text, 3))
	}
	return text, nil
}

func lastLines(text string, n int) string {
	lines := strings.Split(text, "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// until asks until the answer is nil: what is asked has no other sign to wait for.
func until(ctx context.Context, ask func() error) error {
	poll := time.NewTicker(30 * time.Millisecond)
	defer poll.Stop()
	for {
		last := ask()
		if last == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w; last: %w", context.Cause(ctx), last)
		case <-poll.C:
		}
	}
}

// signalAll sends a signal to a process and all that it has started, itself first.
func signalAll(pid int, signal syscall.Signal) error {
	errs := []error{syscall.Kill(pid, signal)}
	for _, child := range children(pid) {
		if err := syscall.Kill(child, signal); !errors.Is(err, syscall.ESRCH) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func children(pid int) (list []int) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return nil // it is gone
	}
	for _, field := range strings.Fields(string(text)) {
		var child int
		if _, err := fmt.Sscan(field, &child); err == nil {
			list = append(append(list, child), children(child)...)
		}
	}
	return list
}
