package cluster

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// account is the user that the server runs as when this process is root, which PostgreSQL refuses to run as.
type account struct {
	name     string
	uid, gid int
}

// unprivileged picks that user: postgres where there is one, else nobody; nil when this process is not root.
func unprivileged() (*account, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		found, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, uidErr := strconv.Atoi(found.Uid)
		gid, gidErr := strconv.Atoi(found.Gid)
		if err := errors.Join(uidErr, gidErr); err != nil {
			return nil, fmt.Errorf("look up user %s: %w", name, err)
		}
		return &account{name: name, uid: uid, gid: gid}, nil
	}
	return nil, errors.New("PostgreSQL does not run as root, and there is neither a user postgres nor nobody; run this as another user")
}

func (a *account) credential() *syscall.Credential {
	return &syscall.Credential{Uid: uint32(a.uid), Gid: uint32(a.gid)}
}

// own gives one file or folder to the account; nothing to do for a nil account.
func (a *account) own(path string) error {
	if a == nil {
		return nil
	}
	if err := os.Chown(path, a.uid, a.gid); err != nil {
		return fmt.Errorf("give %s to %s: %w", path, a.name, err)
	}
	return nil
}

// home makes the cluster's folder and returns its absolute path: the one asked for when the account can reach it.
func home(asked string, as *account, log *slog.Logger) (string, error) {
	if asked == "" {
		return temporary(as)
	}
	dir, err := filepath.Abs(asked)
	if err != nil {
		return "", fmt.Errorf("find folder %s: %w", asked, err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("make folder for the cluster: %w", err)
	}
	// Links are resolved first, because the server names its folder that way, too.
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return "", fmt.Errorf("find folder %s: %w", asked, err)
	}
	if as != nil && !as.reaches(filepath.Dir(dir)) {
		other, err := elsewhere(dir, as)
		if err != nil {
			return "", err
		}
		log.Warn("cluster put elsewhere: the server's user cannot reach the folder", "user", as.name, "asked", dir, "dir", other)
		dir = other
	}
	return dir, as.own(dir)
}

// elsewhere stands in for a folder that cannot be used; the same one gets the same stand-in every time.
func elsewhere(dir string, as *account) (string, error) {
	base, err := openBase(as)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256([]byte(dir))
	other := filepath.Join(base, fmt.Sprintf("postgres-%x", sum[:8]))
	err = os.Mkdir(other, 0o700)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return "", fmt.Errorf("make folder for the cluster: %w", err)
	}
	if errors.Is(err, fs.ErrExist) {
		// The name can be guessed and the base is open to all: what somebody else put there is not trusted.
		info, err := os.Lstat(other)
		if err != nil {
			return "", fmt.Errorf("make folder for the cluster: %w", err)
		}
		owner := info.Sys().(*syscall.Stat_t).Uid
		if !info.IsDir() || (owner != uint32(as.uid) && owner != 0) {
			return "", fmt.Errorf("folder %s belongs to somebody else; remove it", other)
		}
	}
	return other, nil
}

// openBase is the first of the system's temporary folders that the account can reach, links resolved.
func openBase(as *account) (string, error) {
	for _, base := range []string{os.TempDir(), "/var/tmp", "/tmp"} {
		real, err := filepath.EvalSymlinks(base)
		if err == nil && as.reaches(real) {
			return real, nil
		}
	}
	return "", fmt.Errorf("no temporary folder that user %s can reach; set TMPDIR to one", as.name)
}

// reaches says whether the account may pass through dir and all its parents.
func (a *account) reaches(dir string) bool {
	if a == nil {
		return true
	}
	for {
		info, err := os.Stat(dir)
		if err != nil {
			return false
		}
		stat := info.Sys().(*syscall.Stat_t)
		bit := fs.FileMode(0o001)
		switch {
		case stat.Uid == uint32(a.uid):
			bit = 0o100
		case stat.Gid == uint32(a.gid):
			bit = 0o010
		}
		if info.Mode()&bit == 0 {
			return false
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return true
		}
		dir = parent
	}
}
