package files

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
)

// lockRetry is how long a process waits before it asks for the lock file again.
// flock itself cannot be cancelled.
const lockRetry = 5 * time.Millisecond

// locked runs change while no other goroutine and no other process changes the
// store. The kernel gives the lock back when a process dies.
func (s *Store) locked(ctx context.Context, change func() error) (err error) {
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return fmt.Errorf("wait for the store: %w", context.Cause(ctx))
	}
	if err := os.MkdirAll(s.state, 0o755); err != nil {
		return fmt.Errorf("make the state directory: %w", err)
	}
	file, err := os.OpenFile(s.path("lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return fmt.Errorf("open the store's lock: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }() // closing unlocks
	if err := flock(ctx, file); err != nil {
		return err
	}
	return change()
}

func flock(ctx context.Context, file *os.File) error {
	ticker := time.NewTicker(lockRetry)
	defer ticker.Stop()
	for {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			return fmt.Errorf("lock the store: %w", err)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return fmt.Errorf("wait for the store: %w", context.Cause(ctx))
		}
	}
}
