package cluster

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// temporaryPrefix starts the names of throw-away folders.
const temporaryPrefix = "strangler-postgres-"

// leftAfter is the age at which a throw-away folder without a server counts as left behind.
const leftAfter = 2 * time.Hour

// memory is where Linux keeps files in memory, which is twice as quick for what makes and removes databases all the time.
// It is taken where it has plenty of room: a throw-away cluster seldom has more than half a gibibyte.
const (
	memory      = "/dev/shm"
	memoryLeast = 6 << 30 // bytes
)

// roomIn is how many bytes are free in the file system of dir, for anybody; 0 when that cannot be told.
func roomIn(dir string) uint64 {
	var stat syscall.Statfs_t
	if err := syscall.Statfs(dir, &stat); err != nil {
		return 0
	}
	return stat.Bavail * uint64(stat.Bsize) //nolint:gosec,unconvert // a size; of another type on each system
}

// temporary makes a new folder that the account can reach, and clears away those of runs that were killed.
func temporary(as *account) (string, error) {
	base, err := openBase(as)
	if err != nil {
		return "", err
	}
	if os.Getenv("TMPDIR") == "" && roomIn(memory) >= memoryLeast && as.reaches(memory) {
		base = memory
	}
	if err := sweep(base, time.Now().Add(-leftAfter)); err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp(base, temporaryPrefix)
	if err != nil {
		return "", fmt.Errorf("make folder for the cluster: %w", err)
	}
	return dir, as.own(dir)
}

// sweep removes the throw-away folders that a killed parent left behind: they were last changed before the given time,
// and their server is down, which took its lock file along. What belongs to another user is left alone.
func sweep(base string, before time.Time) error {
	dirs, err := filepath.Glob(filepath.Join(base, temporaryPrefix+"*"))
	if err != nil {
		return fmt.Errorf("look for old clusters: %w", err)
	}
	for _, dir := range dirs {
		info, err := os.Lstat(dir)
		if err != nil || !info.IsDir() || info.ModTime().After(before) {
			continue // gone meanwhile, or young
		}
		if _, err := os.Lstat(filepath.Join(dir, "data", "postmaster.pid")); !errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err := os.RemoveAll(dir); err != nil && !errors.Is(err, fs.ErrPermission) {
			return fmt.Errorf("remove old cluster: %w", err)
		}
	}
	return nil
}
