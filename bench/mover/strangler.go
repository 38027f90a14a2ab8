package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"bench/stage"
	"testbed/process"
)

const (
	capability = "bench"
	startTime  = 30 * time.Second
	stopTime   = 20 * time.Second
)

// strangler is one that runs, as a user would run it: proxy and controller in one process, and one capability. Nobody sends
// requests.
type strangler struct {
	binary  string
	dir     string
	process *process.Process
}

const configText = `listen: 127.0.0.1:%d
admin: 127.0.0.1:%d
legacy:
  endpoints: [%q]
  database: %q
`

const documentText = `capability: bench
routes: [{path: /bench/**}]
extracted: {endpoints: [%q]}
data:
  state: stopped
  database: %q
%s  tables: [%s]
`

// triggers is what a document says to have changes written down by triggers.
const triggers = "  capture: trigger\n"

// configure writes a folder for a strangler that moves these tables; data are further lines of the document's data.
func (w *world) configure(tables []string, data string) (dir, admin string, err error) {
	ports, err := process.FreePorts(2)
	if err != nil {
		return "", "", err
	}
	if dir, err = os.MkdirTemp(w.dir, "strangler-"); err != nil {
		return "", "", fmt.Errorf("make folder: %w", err)
	}
	entries := make([]string, len(tables))
	for i, name := range tables {
		entries[i] = "{table: " + name + "}"
	}
	admin = "127.0.0.1:" + strconv.Itoa(ports[1])
	return dir, admin, errors.Join(
		os.Mkdir(filepath.Join(dir, "routes"), 0o755),
		os.WriteFile(filepath.Join(dir, "config.yaml"), fmt.Appendf(nil, configText, ports[0], ports[1], w.upstream.URL, stage.RoleURL(w.source, database, stage.Mover)), 0o600),
		os.WriteFile(filepath.Join(dir, "routes", "bench.yaml"), fmt.Appendf(nil, documentText, w.upstream.URL, stage.RoleURL(w.target, database, stage.Mover), data, strings.Join(entries, ", ")), 0o600),
	)
}

// start starts a strangler that moves nothing yet, and blocks until its controller takes commands.
func (w *world) start(ctx context.Context, tables []string, data string) (*strangler, error) {
	dir, admin, err := w.configure(tables, data)
	if err != nil {
		return nil, err
	}
	s := &strangler{binary: w.strangler, dir: dir}
	log, err := os.Create(s.log())
	if err != nil {
		return nil, fmt.Errorf("make the log: %w", err)
	}
	defer log.Close() //nolint:errcheck // the child has its own descriptor; nothing was written through this one
	cmd := exec.Command(s.binary, "up")
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = dir, stage.Environment(), log, log
	if s.process, err = process.Start(cmd, syscall.SIGTERM); err != nil {
		return nil, err
	}
	w.running = append(w.running, s)
	if err := s.ready(ctx, "http://"+admin+"/api/capabilities/"+capability); err != nil {
		return nil, fmt.Errorf("start strangler: %w\n%s", err, s.tail())
	}
	return s, nil
}

// ready polls: the process has no other sign of being ready that its parent could wait for.
func (s *strangler) ready(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	return until(ctx, 20*time.Millisecond, func() (bool, error) {
		if !s.process.Running() {
			return false, fmt.Errorf("it has ended: %w", s.process.Err())
		}
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return false, err
		}
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			return false, nil //nolint:nilerr // nobody listens yet
		}
		return response.StatusCode == http.StatusOK, response.Body.Close()
	})
}

// until asks again and again until the answer is yes, or an error, or ctx ends.
func until(ctx context.Context, every time.Duration, ask func() (bool, error)) error {
	poll := time.NewTicker(every)
	defer poll.Stop()
	for {
		if yes, err := ask(); yes || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-poll.C:
		}
	}
}

// typed runs one command to its end, as a person would type it in the folder.
func (s *strangler) typed(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, s.binary, args...)
	cmd.Dir, cmd.Env = s.dir, stage.Environment()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("strangler %s: %w\n%s\n%s", strings.Join(args, " "), err, out, s.tail())
	}
	return nil
}

// data types one of the data commands.
func (s *strangler) data(ctx context.Context, verb string) error {
	return s.typed(ctx, "data", verb, capability)
}

// leave takes back all that the move has made, and ends the process.
func (w *world) leave(ctx context.Context, s *strangler) error {
	if err := s.data(ctx, "reset"); err != nil {
		return err
	}
	w.running = slices.DeleteFunc(w.running, func(r *strangler) bool { return r == s })
	return errors.Join(s.stop(), os.RemoveAll(s.dir))
}

func (s *strangler) stop() error { return s.process.Stop(syscall.SIGTERM, stopTime) }

func (s *strangler) log() string { return filepath.Join(s.dir, "log") }

// tail is the end of the log.
func (s *strangler) tail() string {
	text, err := os.ReadFile(s.log())
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return "  | " + strings.Join(lines[max(0, len(lines)-12):], "\n  | ")
}

// captures says whether this strangler knows of capture by triggers.
func (w *world) captures(ctx context.Context) (bool, error) {
	dir, _, err := w.configure([]string{marker}, triggers)
	if err != nil {
		return false, err
	}
	cmd := exec.CommandContext(ctx, w.strangler, "check")
	cmd.Dir, cmd.Env = dir, stage.Environment()
	out, err := cmd.CombinedOutput()
	var status *exec.ExitError
	if err != nil && !errors.As(err, &status) {
		return false, err
	}
	return !strings.Contains(string(out), "data.capture: is an unknown key"), os.RemoveAll(dir)
}
