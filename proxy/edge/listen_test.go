package edge

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestListenOpensAll(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s")
	l, err := Listen(context.Background(), "127.0.0.1:0", "unix:"+path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if l.Get("127.0.0.1:0") == nil || l.Get("unix:"+path).Addr().String() != path || l.Inherited() != 0 || l.Get("other") != nil {
		t.Errorf("%+v", l)
	}
	for _, addresses := range [][]string{{"nowhere"}, {"127.0.0.1:0", "127.0.0.1:0"}, {"fd:web"}, {"unix:" + path}} {
		if l, err := Listen(context.Background(), addresses...); err == nil {
			l.Close()
			t.Errorf("%v: no error", addresses)
		}
	}
}

func TestListenReplacesTheSocketOfADeadProcess(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s")
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	dead.Close()
	l, err := Listen(context.Background(), "unix:"+path)
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
}

// systemd starts a service with LISTEN_PID set between fork and exec; a shell that
// replaces itself does the same.
func TestListenTakesWhatSystemdPasses(t *testing.T) {
	t.Parallel()
	for _, address := range []string{"fd:web", "by address"} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		f, err := l.(*net.TCPListener).File()
		if err != nil {
			t.Fatal(err)
		}
		if address != "fd:web" {
			address = l.Addr().String()
		}
		notify := filepath.Join(t.TempDir(), "notify")
		told, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: notify, Net: "unixgram"})
		if err != nil {
			t.Fatal(err)
		}
		path, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("/bin/sh", "-c", `LISTEN_PID=$$ exec "$0"`, path)
		cmd.Env = append(os.Environ(), envProcess+"="+address, "LISTEN_FDS=1", "LISTEN_FDNAMES=web", "NOTIFY_SOCKET="+notify)
		cmd.ExtraFiles = []*os.File{f}
		var out strings.Builder
		cmd.Stdout = &out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		f.Close()
		where := l.Addr().String()
		l.Close()
		if err := told.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 100)
		n, err := told.Read(b)
		if want := fmt.Sprintf("READY=1\nMAINPID=%d", cmd.Process.Pid); err != nil || string(b[:n]) != want {
			t.Errorf("systemd hears %q, %v", b[:n], err)
		}
		if _, body := get(t, client(t), "http://"+where); body != fmt.Sprint(cmd.Process.Pid) {
			t.Errorf("%s: answered by %q", address, body)
		}
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			t.Error(err)
		}
		_ = cmd.Wait()
		told.Close()
	}
}

func TestHandOverGivesUp(t *testing.T) {
	t.Parallel()
	l, err := Listen(context.Background(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	in := l.Get("127.0.0.1:0")
	shell := func(script string) func(*exec.Cmd) {
		return func(c *exec.Cmd) { c.Path, c.Args = "/bin/sh", []string{"sh", "-c", script} }
	}
	hand := func(script string) error {
		ctx, cancel := context.WithTimeout(context.Background(), short)
		defer cancel()
		return l.HandOver(ctx, shell(script))
	}
	for script, want := range map[string]string{
		"exec sleep 60":                 "not ready in time",
		"exit 0":                        "ended before it was ready",
		"exit 3":                        "exit status 3",
		"printf red >&4; exec sleep 60": "not ready in time",
	} {
		if err := hand(script); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", script, err, want)
		}
	}
	if err := l.HandOver(context.Background(), func(c *exec.Cmd) { c.Path = "/nowhere" }); err == nil {
		t.Error("a program that is not there was started")
	}
	// Still ours, and Accept still ends with Close.
	accepted := make(chan error, 1)
	go func() {
		c, err := in.Accept()
		if err == nil {
			c.Close()
			_, err = in.Accept()
		}
		accepted <- err
	}()
	dial(t, in.Addr().String())
	if err := l.HandOver(context.Background(), shell("printf ready >&4")); err != nil {
		t.Error(err)
	}
	if err := l.HandOver(context.Background()); !errors.Is(err, ErrHanded) {
		t.Errorf("handed over twice: %v", err)
	}
	in.Close()
	if err := within(t, "the end of Accept", accepted); !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
}
