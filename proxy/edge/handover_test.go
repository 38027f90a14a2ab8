package edge

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// The test binary is also the program that hands itself over: with envProcess it
// serves there until SIGTERM, and hands over on SIGUSR2. While the file of envCrash
// exists, a process that has inherited anything fails before it serves.
const (
	envProcess = "EDGE_TEST_PROCESS"
	envCrash   = "EDGE_TEST_CRASH"
)

func process() int {
	say := func(what string, args ...any) { fmt.Printf("%s %d %s\n", what, os.Getpid(), fmt.Sprint(args...)) }
	signals := make(chan os.Signal, 10)
	signal.Notify(signals, syscall.SIGUSR2, syscall.SIGTERM)
	l, err := Listen(context.Background(), os.Getenv(envProcess))
	if err != nil {
		say("failed", err)
		return 1
	}
	if _, err := os.Stat(os.Getenv(envCrash)); err == nil && l.Inherited() > 0 {
		return 3
	}
	in := l.Get(os.Getenv(envProcess))
	s, err := New(Options{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			_, _ = fmt.Fprint(w, os.Getpid())
		}),
		Listeners: []net.Listener{in}, HTTP2: true, Drain: Drain{Delay: 200 * time.Millisecond}, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		say("failed", err)
		return 1
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	stopped := make(chan error)
	go func() { stopped <- s.Run(ctx) }()
	if err := l.Ready(); err != nil {
		say("failed", err)
	}
	say("serving", in.Addr())
	for got := range signals {
		if got == syscall.SIGTERM {
			break
		}
		bounded, cancel := context.WithTimeout(ctx, 10*time.Second)
		err := l.HandOver(bounded)
		cancel()
		if err == nil {
			break
		}
		say("kept", err)
	}
	stop()
	if err := <-stopped; err != nil {
		say("failed", err)
		return 1
	}
	say("stopped")
	return 0
}

// program is a chain of processes that share one output.
type program struct {
	t       *testing.T
	pid     int
	address string
	lines   *bufio.Scanner
	crash   string
}

func start(t *testing.T, address string) *program {
	t.Helper()
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p := &program{t: t, lines: bufio.NewScanner(out), crash: filepath.Join(t.TempDir(), "crash")}
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path)
	cmd.Env = append(os.Environ(), envProcess+"="+address, envCrash+"="+p.crash)
	cmd.Stdout, cmd.Stderr = in, os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	in.Close()
	p.pid = cmd.Process.Pid
	if err := out.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(p.pid, syscall.SIGTERM)
		// The output ends with the last process.
		for p.lines.Scan() {
			if strings.HasPrefix(p.lines.Text(), "failed") {
				t.Error(p.lines.Text())
			}
		}
		if err := p.lines.Err(); err != nil {
			t.Errorf("not all processes have ended: %v", err)
		}
		_ = cmd.Wait()
		out.Close()
	})
	p.expect("serving")
	return p
}

// expect reads a line of that kind and returns its process.
func (p *program) expect(kind string) (pid int, rest string) {
	p.t.Helper()
	if !p.lines.Scan() {
		p.t.Fatalf("the output ended before %q: %v", kind, p.lines.Err())
	}
	var got string
	if _, err := fmt.Sscan(p.lines.Text(), &got, &pid); err != nil || got != kind {
		p.t.Fatalf("%q, want %q", p.lines.Text(), kind)
	}
	rest = strings.SplitN(p.lines.Text(), " ", 3)[2]
	if kind == "serving" {
		p.pid, p.address = pid, rest
	}
	return pid, rest
}

func (p *program) handOver() {
	p.t.Helper()
	if err := syscall.Kill(p.pid, syscall.SIGUSR2); err != nil {
		p.t.Fatal(err)
	}
}

// load sends requests in several manners until stop, and returns the failures.
type load struct {
	done     chan struct{}
	clients  sync.WaitGroup
	sent     atomic.Int64
	failures sync.Map
}

func newLoad(t *testing.T, address string) *load {
	l := &load{done: make(chan struct{})}
	fresh := client(t)
	fresh.Transport.(*http.Transport).DisableKeepAlives = true
	get := func(c *http.Client) (*http.Response, error) { return c.Get("http://" + address) }
	post := func(c *http.Client) (*http.Response, error) {
		// A body that cannot be sent again: the transport retries nothing.
		return c.Post("http://"+address, "text/plain", io.MultiReader(strings.NewReader("body")))
	}
	l.run("GET, kept connections", client(t), get)
	l.run("POST, kept connections", client(t), post)
	l.run("POST, kept connections, too", client(t), post)
	l.run("GET, new connections", fresh, get)
	// Over HTTP/2 a client that was idle may meet a GOAWAY, which says that its request was
	// not looked at (TestGoawayCountsWhatIsAnswered). net/http sends it again then, and only
	// then, if it has the body.
	l.run("POST, HTTP/2", client(t, h2c), func(c *http.Client) (*http.Response, error) {
		return c.Post("http://"+address, "text/plain", strings.NewReader("body"))
	})
	return l
}

func (l *load) run(name string, c *http.Client, send func(*http.Client) (*http.Response, error)) {
	l.clients.Go(func() {
		for {
			select {
			case <-l.done:
				return
			default:
			}
			l.sent.Add(1)
			res, err := send(c)
			if err == nil {
				_, err = io.Copy(io.Discard, res.Body)
				res.Body.Close()
				if res.StatusCode != http.StatusOK {
					err = errors.New(res.Status)
				}
			}
			if err != nil {
				l.failures.Store(name, err)
			}
		}
	})
}

func (l *load) stop() { close(l.done); l.clients.Wait() }

func TestHandOver(t *testing.T) {
	t.Parallel()
	p := start(t, "127.0.0.1:0")
	l := newLoad(t, p.address)
	first, address := p.pid, p.address
	for range 3 {
		before := p.pid
		p.handOver()
		p.expect("serving")
		if p.pid == before || p.address != address {
			t.Fatalf("process %d at %s follows %d", p.pid, p.address, before)
		}
		if pid, _ := p.expect("stopped"); pid != before {
			t.Fatalf("%d has ended, not %d", pid, before)
		}
		if _, body := get(t, client(t), "http://"+address); body != fmt.Sprint(p.pid) {
			t.Errorf("process %s answers, not %d", body, p.pid)
		}
	}
	l.stop()
	l.failures.Range(func(name, err any) bool {
		t.Errorf("%s: %v", name, err)
		return true
	})
	t.Logf("%d requests over three hand-overs from process %d", l.sent.Load(), first)
	if l.sent.Load() < 100 {
		t.Errorf("only %d requests were sent", l.sent.Load())
	}
}

func TestHandOverToAProcessThatDies(t *testing.T) {
	t.Parallel()
	p := start(t, "127.0.0.1:0")
	l := newLoad(t, p.address)
	if err := os.WriteFile(p.crash, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	before := p.pid
	p.handOver()
	if pid, why := p.expect("kept"); pid != before || !strings.Contains(why, "exit status 3") {
		t.Errorf("%d: %s", pid, why)
	}
	if _, body := get(t, client(t), "http://"+p.address); body != fmt.Sprint(before) {
		t.Errorf("process %s answers, not %d", body, before)
	}
	if err := os.Remove(p.crash); err != nil {
		t.Fatal(err)
	}
	p.handOver()
	p.expect("serving")
	p.expect("stopped")
	l.stop()
	l.failures.Range(func(name, err any) bool {
		t.Errorf("%s: %v", name, err)
		return true
	})
}

func TestHandOverOfAUnixSocket(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s")
	p := start(t, "unix:"+path)
	p.handOver()
	p.expect("serving")
	p.expect("stopped")
	tr := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", path)
	}}
	t.Cleanup(tr.CloseIdleConnections)
	if _, body := get(t, &http.Client{Transport: tr}, "http://x"); body != fmt.Sprint(p.pid) {
		t.Errorf("process %s answers, not %d", body, p.pid)
	}
}
