package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"testbed/process"
)

// strangler is the process that is soaked, and the questions that are asked of its admin API.
type strangler struct {
	log, address, admin string
	process             *process.Process
	client              *http.Client
}

const (
	startTime = 60 * time.Second // on a busy machine
	stopTime  = 30 * time.Second // above the grace that it gives to what is in flight
)

// startStrangler starts `strangler up` in a folder that has its configuration, and blocks until it is ready.
func startStrangler(ctx context.Context, binary, dir, address, admin string) (*strangler, error) {
	s := &strangler{log: filepath.Join(dir, "strangler.log"), address: address, admin: "http://" + admin,
		// Nothing is kept alive: its goroutines would be counted.
		client: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: startTime}}
	binary, err := filepath.Abs(binary)
	if err != nil {
		return nil, fmt.Errorf("find the program: %w", err)
	}
	out, err := os.Create(s.log)
	if err != nil {
		return nil, fmt.Errorf("make the log: %w", err)
	}
	defer out.Close() //nolint:errcheck // the child has its own descriptor; nothing was written through this one
	cmd := exec.Command(binary, "up", "--config", "config.yaml")
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, out, out
	for _, pair := range os.Environ() {
		if !strings.HasPrefix(pair, "STRANGLER_") {
			cmd.Env = append(cmd.Env, pair)
		}
	}
	if s.process, err = process.Start(cmd, syscall.SIGTERM); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	ready := func() error { _, err := s.ask(ctx, "/readyz"); return err }
	if err := eventually(ctx, s.process.Done(), ready); err != nil {
		return nil, errors.Join(fmt.Errorf("start strangler: %w\n%s", err, s.tail()), s.process.Kill())
	}
	return s, nil
}

// errEnded is the answer to what is asked of a process that has ended by itself.
var errEnded = errors.New("the strangler has ended by itself")

// eventually asks until the answer is nil: the process has no other sign to wait for.
func eventually(ctx context.Context, ended <-chan struct{}, ask func() error) error {
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for {
		last := ask()
		if last == nil {
			return nil
		}
		select {
		case <-ended:
			return errEnded
		case <-ctx.Done():
			return fmt.Errorf("%w; last: %w", context.Cause(ctx), last)
		case <-poll.C:
		}
	}
}

// ask gets one page of the admin API.
func (s *strangler) ask(ctx context.Context, path string) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.admin+path, nil)
	if err != nil {
		return nil, err
	}
	res, err := s.client.Do(r)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: status %d: %.200s", path, res.StatusCode, text)
	}
	return text, err
}

func (s *strangler) decode(ctx context.Context, path string, into any) error {
	text, err := s.ask(ctx, path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	return nil
}

// stop ends it in order. One that does not end, or not with 0, is a problem.
func (s *strangler) stop() error {
	if err := s.process.Stop(syscall.SIGTERM, stopTime); err != nil {
		return err
	}
	if err := s.process.Err(); err != nil {
		return fmt.Errorf("strangler ended with %w\n%s", err, s.tail())
	}
	return nil
}

// crashed looks for what the runtime prints when a goroutine panics or two of them race, and for what the strangler logs at
// ERROR of panics that cost one request only.
func (s *strangler) crashed() error {
	text, err := os.ReadFile(s.log)
	if err != nil {
		return err
	}
	for _, sign := range []string{"panic:", "panic serving", "panic in a handler", "DATA RACE", "fatal error:"} {
		if at := strings.Index(string(text), sign); at >= 0 {
			return fmt.Errorf("the log says %.400s", text[at:])
		}
	}
	return nil
}

// tail is the end of the log.
func (s *strangler) tail() string {
	text, err := os.ReadFile(s.log)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return "  | " + strings.Join(lines[max(0, len(lines)-12):], "\n  | ")
}
