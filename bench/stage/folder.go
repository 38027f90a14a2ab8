package stage

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// lockName is the file that says whose folder it is.
const lockName = "lock"

// ErrInUse means that another run has the folder.
var ErrInUse = errors.New("another run is using it; stop that one first")

// claim makes the folder, locks it for this process and empties it.
func claim(dir string) (*os.File, error) {
	if err := os.MkdirAll(filepath.Join(dir, "logs"), 0o755); err != nil {
		return nil, fmt.Errorf("make folder: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(dir, lockName), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("claim %s: %w", dir, err)
	}
	// The lock goes with the process, however it ends.
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = ErrInUse
		}
		return nil, errors.Join(fmt.Errorf("claim %s: %w", dir, err), lock.Close())
	}
	if err := empty(dir); err != nil {
		return nil, errors.Join(err, release(lock))
	}
	return lock, nil
}

// release unlocks and closes. Closing alone leaves the lock with a program that is being started in this moment, for it
// has the open file until it has become itself.
func release(lock *os.File) error {
	return errors.Join(syscall.Flock(int(lock.Fd()), syscall.LOCK_UN), lock.Close())
}

func empty(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("empty folder: %w", err)
	}
	for _, entry := range entries {
		if entry.Name() == lockName {
			continue
		}
		if err := os.RemoveAll(filepath.Join(dir, entry.Name())); err != nil {
			return fmt.Errorf("empty folder: %w", err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "logs"), 0o755); err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	return nil
}

// programs are what `make build` leaves in bin/.
var programs = []string{"strangler", "shop", "orders", "catalog"}

func (s *Stage) built() error {
	var missing []string
	for _, name := range programs {
		if _, err := os.Stat(s.binary(name)); err != nil {
			missing = append(missing, "bin/"+name)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("not built yet: %s; run: make build", strings.Join(missing, ", "))
	}
	return nil
}

func (s *Stage) binary(name string) string { return filepath.Join(s.Root, "bin", name) }
