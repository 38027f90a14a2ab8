package edge

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// Variables of systemd's socket activation (sd_listen_fds(3)), and our own, which
// carries the addresses of sockets that a process hands to its successor: a pid
// cannot be named before there is one.
const (
	envPID   = "LISTEN_PID"
	envCount = "LISTEN_FDS"
	envNames = "LISTEN_FDNAMES"
	envOurs  = "STRANGLER_LISTENERS"

	firstFD = 3
)

// inheritance is what a process finds open.
type inheritance []inherited

type inherited struct {
	name     string // as the process before wrote the address, or fd:NAME
	listener net.Listener
}

// take returns the one that fits, and forgets it.
func (all inheritance) take(address string) net.Listener {
	for _, fits := range []func(inherited) bool{
		func(in inherited) bool { return in.name == address },
		func(in inherited) bool { return same(in.listener, address) },
	} {
		for i, in := range all {
			if in.listener != nil && fits(in) {
				all[i].listener = nil
				return in.listener
			}
		}
	}
	return nil
}

// close closes what nobody took.
func (all inheritance) close() {
	for _, in := range all {
		if in.listener != nil {
			_ = in.listener.Close() // nobody serves it here
		}
	}
}

// inherit reads and unsets the variables. ready is where the process before waits.
func inherit() (all inheritance, ready *os.File, err error) {
	ours, handed := os.LookupEnv(envOurs)
	pid, count, names := os.Getenv(envPID), os.Getenv(envCount), os.Getenv(envNames)
	for _, name := range []string{envOurs, envPID, envCount, envNames} {
		if err := os.Unsetenv(name); err != nil {
			return nil, nil, fmt.Errorf("inherit listeners: %w", err)
		}
	}
	if handed {
		addresses := strings.Split(ours, "\n")
		fd := firstFD + len(addresses)
		syscall.CloseOnExec(fd)
		ready = os.NewFile(uintptr(fd), "ready")
		all, err = adopt(addresses)
		return all, ready, err
	}
	if count == "" || pid != strconv.Itoa(os.Getpid()) {
		return nil, nil, nil
	}
	n, err := strconv.Atoi(count)
	if err != nil || n < 0 || n > 1000 {
		return nil, nil, fmt.Errorf("inherit listeners: %s is %q", envCount, count)
	}
	list := make([]string, n)
	for i, name := range strings.SplitN(names, ":", n) {
		list[i] = "fd:" + name
	}
	all, err = adopt(list)
	return all, nil, err
}

// adopt makes listeners of the descriptors behind the standard ones.
func adopt(names []string) (all inheritance, err error) {
	for i, name := range names {
		syscall.CloseOnExec(firstFD + i)
		f := os.NewFile(uintptr(firstFD+i), name)
		if f == nil {
			return all, fmt.Errorf("inherit listener %s: no descriptor", name)
		}
		l, err := net.FileListener(f) // of a copy
		err = errors.Join(err, f.Close())
		if err != nil {
			return all, fmt.Errorf("inherit listener %s: %w", name, err)
		}
		all = append(all, inherited{name, l})
	}
	return all, nil
}
