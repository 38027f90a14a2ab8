// Package process runs children that must not outlive their parent, and that die in the order the parent wants.
//
// It owns one operating system process per Process: starting it, signalling it, waiting for it. What the process is,
// where its files are and when it is ready belongs to the caller.
package process

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// ErrKilled is returned by Stop when the process had to be killed because it outlived the grace time.
var ErrKilled = errors.New("process killed after its grace time")

// Process is one started child. Its methods may be called from several goroutines.
type Process struct {
	cmd  *exec.Cmd
	done chan struct{}
	err  error // written before done is closed, read after
	gone chan struct{}
}

// Start starts cmd in a process group of its own, so that Ctrl-C at the terminal reaches only the parent, which then
// stops its children in order. On Linux the child gets deathSignal when the parent dies, however it dies.
// It does not wait for the child to be ready for anything.
func Start(cmd *exec.Cmd, deathSignal syscall.Signal) (*Process, error) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true
	bindToParent(cmd.SysProcAttr, deathSignal)
	p := &Process{cmd: cmd, done: make(chan struct{}), gone: make(chan struct{})}
	line, err := p.lifeline()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	started := make(chan error, 1)
	go p.run(started)
	if err := errors.Join(<-started, line.Close()); err != nil {
		return nil, fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	return p, nil
}

// lifeline gives the child one end of a pipe that nobody writes to. Its own children inherit it, so the other end comes to
// its end when the last of them has ended: the one thing a parent can wait for when its child dies and leaves orphans.
func (p *Process) lifeline() (childs *os.File, err error) {
	ours, childs, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	p.cmd.ExtraFiles = append(p.cmd.ExtraFiles, childs)
	go func() {
		defer close(p.gone)
		defer ours.Close()               //nolint:errcheck // nothing is ever written
		_, _ = io.Copy(io.Discard, ours) // any end will do
	}()
	return childs, nil
}

// run starts the child and waits for it on one locked thread: the kernel sends the death signal when the *thread* that
// forked ends, and the Go runtime ends idle threads as it likes.
func (p *Process) run(started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(p.done)
	err := p.cmd.Start()
	started <- err
	if err == nil {
		p.err = p.cmd.Wait()
	}
}

// PID is the process id; after Done is closed it may belong to somebody else.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Done is closed when the process has ended and has been waited for.
func (p *Process) Done() <-chan struct{} { return p.done }

// Gone is closed when the process and everything it has started have ended. A descendant that closes the descriptors it
// inherited, as daemons do, is not waited for.
func (p *Process) Gone() <-chan struct{} { return p.gone }

// Err says how the process ended: nil for exit status 0 and also while it still runs.
func (p *Process) Err() error {
	select {
	case <-p.done:
		return p.err
	default:
		return nil
	}
}

// Running says whether the process has not ended yet.
func (p *Process) Running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// Signal sends one signal. A process that has ended already is no error.
func (p *Process) Signal(signal os.Signal) error {
	if err := p.cmd.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal %s: %w", p.cmd.Path, err)
	}
	return nil
}

// Stop sends the signal and blocks until the process is gone. One that is still there after the grace time is killed,
// and Stop returns ErrKilled. How the process exited is not judged: see Err.
func (p *Process) Stop(signal os.Signal, grace time.Duration) error {
	if !p.Running() {
		return nil
	}
	if err := p.Signal(signal); err != nil {
		return err
	}
	late := time.NewTimer(grace)
	defer late.Stop()
	select {
	case <-p.done:
		return nil
	case <-late.C:
	}
	if err := p.Kill(); err != nil {
		return err
	}
	return fmt.Errorf("stop %s: %w", p.cmd.Path, ErrKilled)
}

// Kill sends SIGKILL and blocks until the process is gone.
func (p *Process) Kill() error {
	if err := p.Signal(syscall.SIGKILL); err != nil {
		return err
	}
	<-p.done
	return nil
}
