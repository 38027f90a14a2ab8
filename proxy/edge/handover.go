package edge

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
)

// ErrHanded is returned by HandOver when another process has the listeners, or is
// being started.
var ErrHanded = errors.New("the listeners are being handed over already")

// HandOver starts this program again, with the same arguments and environment and
// with the listeners open, and returns when the new process has called Ready. Both
// accept clients then; the caller drains and ends. On error, as when the new
// process ends before it is ready, or ctx does, there is no new process, nor what it
// has started in its process group, and the caller goes on serving.
//
// The program is found at the path it was started from: a new binary takes the
// old one's place by rename. Each prepare may change the command before it starts.
// The new process is not waited for: it outlives this one.
func (l *Listeners) HandOver(ctx context.Context, prepare ...func(*exec.Cmd)) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.handed {
		return ErrHanded
	}
	path, err := os.Executable()
	if err != nil {
		return fmt.Errorf("hand over listeners: %w", err)
	}
	files, err := l.files()
	defer closeAll(files)
	if err != nil {
		return fmt.Errorf("hand over listeners: %w", err)
	}
	ready, theirs, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("hand over listeners: %w", err)
	}
	defer closeAll([]*os.File{ready, theirs})
	cmd := exec.Command(path, os.Args[1:]...) //nolint:noctx // it outlives whatever context there is
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.ExtraFiles = append(files, theirs)
	cmd.Env = append(os.Environ(), envOurs+"="+strings.Join(l.addresses, "\n"))
	// A group of its own, so that what it has started itself can be ended with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	for _, p := range prepare {
		p(cmd)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("hand over listeners: %w", err)
	}
	_ = theirs.Close() // so that ready ends with the other process
	if err := await(ctx, ready); err != nil {
		// It may be gone already, but it is not waited for yet: the number is still its own.
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		if ended := cmd.Wait(); ended != nil {
			err = fmt.Errorf("%w: %w", err, ended)
		}
		return fmt.Errorf("hand over listeners: the new process: %w", err)
	}
	l.handed = true
	l.keepSockets()
	// systemd is told by the new process, which it may not listen to (NotifyAccess).
	return errors.Join(Notify(fmt.Sprintf("MAINPID=%d", cmd.Process.Pid)), cmd.Process.Release())
}

// files returns copies of the sockets in the order of the addresses.
func (l *Listeners) files() (files []*os.File, err error) {
	if len(l.addresses) == 0 {
		return nil, errors.New("there are none")
	}
	for _, address := range l.addresses {
		f, err := duplicate(l.open[address])
		if err != nil {
			return files, fmt.Errorf("%s: %w", address, err)
		}
		files = append(files, f)
	}
	return files, nil
}

// duplicate does what a listener's method File does, but for its promise that the
// file is blocking when it is passed on. Copy and original are one open socket: an
// Accept that blocks in the kernel would not end with Close.
func duplicate(l net.Listener) (f *os.File, err error) {
	c, ok := l.(syscall.Conn)
	if !ok {
		return nil, errors.New("not a socket")
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	controlErr := raw.Control(func(fd uintptr) {
		syscall.ForkLock.RLock()
		defer syscall.ForkLock.RUnlock()
		var copied int
		if copied, err = syscall.Dup(int(fd)); err == nil {
			syscall.CloseOnExec(copied)
			f = os.NewFile(uintptr(copied), l.Addr().String())
		}
	})
	return f, errors.Join(controlErr, err)
}

// await reads what Ready writes.
func await(ctx context.Context, ready *os.File) error {
	result := make(chan error, 1)
	go func() {
		b, err := io.ReadAll(ready)
		if err == nil && string(b) != "ready" {
			err = errors.New("ended before it was ready")
		}
		result <- err
	}()
	select {
	case err := <-result:
		return err
	case <-ctx.Done():
		_ = ready.Close() // ends the read
		if err := <-result; err == nil {
			return nil // at the last moment
		}
		return fmt.Errorf("not ready in time: %w", context.Cause(ctx))
	}
}

// keepSockets leaves the files of Unix sockets to the new process.
func (l *Listeners) keepSockets() {
	for _, in := range l.open {
		if u, ok := in.(*net.UnixListener); ok {
			u.SetUnlinkOnClose(false)
		}
	}
}

func closeAll(files []*os.File) {
	for _, f := range files {
		_ = f.Close() // copies; some are closed already
	}
}
