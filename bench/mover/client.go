package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"

	"bench/stage"
)

// program makes a command of one of PostgreSQL's client programs.
func (w *world) program(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, w.source.Binaries().Path(name), args...)
	cmd.Env = stage.Environment()
	return cmd
}

// client runs one to its end and returns what it printed.
func (w *world) client(ctx context.Context, name string, args ...string) (string, error) {
	out, err := w.program(ctx, name, args...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s: %w\n%s", name, err, out)
	}
	return string(out), nil
}

// pipe runs two programs, the output of the first being the input of the second, and returns what both together have used.
func pipe(from, to *exec.Cmd) (usage, error) {
	reader, writer, err := os.Pipe()
	if err != nil {
		return usage{}, err
	}
	var said [2]bytes.Buffer
	from.Stdout, from.Stderr, to.Stdin, to.Stderr = writer, &said[0], reader, &said[1]
	begun := []error{from.Start(), to.Start()}
	errs := []error{writer.Close(), reader.Close()} // each child has its own end
	var used usage
	for i, cmd := range []*exec.Cmd{from, to} {
		err := begun[i]
		if err == nil {
			err = cmd.Wait()
			used = used.plus(ended(cmd.ProcessState))
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w\n%s", cmd.Path, err, &said[i]))
		}
	}
	return used, errors.Join(errs...)
}

// ended is what a process has used that has been waited for.
func ended(p *os.ProcessState) usage {
	u := usage{cpu: (p.UserTime() + p.SystemTime())}
	if r, ok := p.SysUsage().(*syscall.Rusage); ok {
		u.peak = int64(r.Maxrss) //nolint:unconvert // 32 bits on some systems
		if runtime.GOOS != "darwin" {
			u.peak *= 1024
		}
	}
	return u
}

// usage is what a process has used so far.
type usage struct {
	cpu  time.Duration
	rest int64 // resident bytes when it began to be measured; 0: not known
	peak int64 // the most bytes that were resident since
}

func (u usage) plus(v usage) usage {
	return usage{u.cpu + v.cpu, u.rest + v.rest, u.peak + v.peak}
}
