package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"testbed/process"
)

// patience is how long these tests wait for what comes at once on a machine that is
// not busy.
const patience = 20 * time.Second

// running is `strangler up` as a process of its own, with an upstream that answers
// /slow when it is told to.
type running struct {
	t              *testing.T
	dir            string
	path           string // of the program
	clients, admin string
	cmd            *exec.Cmd
	lines          chan string // what it prints, until its output ends
	arrived        chan struct{}
	release        func() // of what was asked for at /slow
	ended          chan error
}

// start runs it and waits until it serves. Its output goes to output, and to lines
// where that is nil.
func start(t *testing.T, more string, output *os.File) *running {
	t.Helper()
	released := make(chan struct{})
	r := &running{t: t, path: program(t), lines: make(chan string, 1000), arrived: make(chan struct{}, 1), ended: make(chan error, 1),
		release: sync.OnceFunc(func() { close(released) })}
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path == "/slow" {
			r.arrived <- struct{}{}
			<-released
		}
		_, _ = io.WriteString(w, "ok")
	}))
	t.Cleanup(func() { r.release(); upstream.Close() })
	ports, err := process.FreePorts(2)
	if err != nil {
		t.Fatal(err)
	}
	r.clients, r.admin, r.dir = fmt.Sprintf("127.0.0.1:%d", ports[0]), fmt.Sprintf("127.0.0.1:%d", ports[1]), t.TempDir()
	h := &house{t: t, dir: r.dir}
	h.write("config.yaml", fmt.Sprintf("listen: %s\nadmin: %s\nlegacy: {endpoints: [%s]}\n%s", r.clients, r.admin, upstream.URL, more))
	h.must(os.Mkdir(filepath.Join(r.dir, "routes"), 0o755))
	said, log, err := os.Pipe()
	h.must(err)
	if output == nil {
		output = log
	}
	r.cmd = exec.Command(r.path, "up", "-c", filepath.Join(r.dir, "config.yaml"))
	r.cmd.Stdout, r.cmd.Stderr = output, output
	h.must(r.cmd.Start())
	_ = log.Close()
	go func() {
		defer close(r.lines)
		defer said.Close() //nolint:errcheck // read only
		for in := bufio.NewScanner(said); in.Scan(); {
			r.lines <- in.Text()
		}
	}()
	go func() { r.ended <- r.cmd.Wait() }()
	t.Cleanup(func() { _ = r.cmd.Process.Kill() }) // has ended, unless the test failed
	r.await("it serves", func() bool { return r.get("http://"+r.admin+"/readyz") == nil })
	return r
}

func (r *running) get(url string) error {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	res, err := client.Get(url)
	if err != nil {
		return err
	}
	defer res.Body.Close() //nolint:errcheck // read only
	body, err := io.ReadAll(res.Body)
	if err == nil && (res.StatusCode != http.StatusOK || len(body) == 0) {
		err = fmt.Errorf("%d %s", res.StatusCode, body)
	}
	return err
}

func (r *running) await(what string, is func() bool) {
	r.t.Helper()
	for deadline := time.Now().Add(patience); !is(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			r.t.Fatalf("it never came true that %s", what)
		}
	}
}

// says waits for a line and returns what comes behind the text in it.
func (r *running) says(text string) string {
	r.t.Helper()
	for deadline := time.After(patience); ; {
		select {
		case line, ok := <-r.lines:
			if _, behind, found := strings.Cut(line, text); found {
				return behind
			}
			if !ok {
				r.t.Fatalf("it ended without saying %q", text)
			}
			r.t.Log(line)
		case <-deadline:
			r.t.Fatalf("it does not say %q", text)
		}
	}
}

// slow sends a request that is answered after release.
func (r *running) slow() (answered chan error) {
	r.t.Helper()
	answered = make(chan error, 1)
	go func() { answered <- r.get("http://" + r.clients + "/slow") }()
	select {
	case <-r.arrived:
	case err := <-answered:
		r.t.Fatalf("a slow request: %v", err)
	}
	return answered
}

func (r *running) signal(s os.Signal) {
	r.t.Helper()
	if err := r.cmd.Process.Signal(s); err != nil {
		r.t.Fatal(err)
	}
}

// refuses reports whether nobody listens for clients.
func (r *running) refuses() bool {
	c, err := net.Dial("tcp", r.clients)
	if err == nil {
		_ = c.Close()
	}
	return err != nil
}

// ends waits for the end of the process, which must be in order.
func (r *running) ends() {
	r.t.Helper()
	select {
	case err := <-r.ended:
		if err != nil {
			r.t.Errorf("it ended with %v", err)
		}
	case <-time.After(patience):
		r.t.Fatal("it does not end")
	}
}

// A stop gives up a hand-over that is under way, and that first: the new process
// would hold the listeners open, so that clients wait for nobody, or would serve on
// although the service was stopped. The new program is a script here, as some wrap
// theirs in one: what it has started has the listeners too, and ends with it.
func TestStopGivesUpAHandOver(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the program")
	}
	t.Parallel()
	r := start(t, "edge: {drain: {delay: 0s, grace: 1m}}\n", nil)
	next := filepath.Join(r.dir, "next")
	if err := os.WriteFile(next, []byte("#!/bin/sh\nsleep 300 &\necho next is $$\nwait\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, r.path); err != nil {
		t.Fatal(err)
	}
	answered := r.slow()
	r.signal(syscall.SIGUSR2)
	successor, err := strconv.Atoi(r.says("next is "))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Kill(-successor, syscall.SIGKILL) }) // they have ended, unless the test failed
	r.signal(syscall.SIGTERM)
	r.await("nobody listens", r.refuses)
	if err := syscall.Kill(successor, 0); err == nil {
		t.Error("the new process is there after the stop")
	}
	r.signal(syscall.SIGUSR2) // comes late, and does no harm
	r.release()
	if err := <-answered; err != nil {
		t.Errorf("the request in flight: %v", err)
	}
	r.ends()
}

// What ends other programs does not end one that serves: the end of whoever reads its
// log, and the signal by which other servers read their configuration again.
func TestSignalsThatAreNoStop(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the program")
	}
	t.Parallel()
	reader, log, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r := start(t, "log: {level: debug}\n", log)
	_ = log.Close()
	answered := r.slow()
	if err := reader.Close(); err != nil {
		t.Fatal(err)
	}
	r.signal(syscall.SIGHUP)
	for range 3 { // a line of log each
		if err := r.get("http://" + r.clients + "/"); err != nil {
			t.Fatal(err)
		}
	}
	r.release()
	if err := <-answered; err != nil {
		t.Errorf("the request in flight: %v", err)
	}
	r.signal(syscall.SIGTERM)
	r.ends()
}
