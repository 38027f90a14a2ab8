package files

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// temporary ends the names of files that are not whole yet.
const temporary = ".tmp"

// replace writes a file whole or not at all: a reader, and a reader after a
// power cut, finds the old content or the new.
func replace(path string, content []byte, mode fs.FileMode) (err error) {
	dir := filepath.Dir(path)
	temp, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*"+temporary)
	if err != nil {
		return fmt.Errorf("create a file beside %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, ignoreClosed(temp.Close()), ignoreMissing(os.Remove(temp.Name())))
		}
	}()
	if _, err := temp.Write(content); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := temp.Chmod(mode); err != nil {
		return fmt.Errorf("set the mode of %s: %w", path, err)
	}
	if err := temp.Sync(); err != nil {
		return fmt.Errorf("sync %s: %w", path, err)
	}
	if err := temp.Close(); err != nil {
		return fmt.Errorf("close %s: %w", path, err)
	}
	if err := os.Rename(temp.Name(), path); err != nil {
		return fmt.Errorf("rename to %s: %w", path, err)
	}
	return syncDir(dir)
}

// syncDir makes a rename or a removal in the directory last.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("open %s: %w", dir, err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("sync %s: %w", dir, err)
	}
	return nil
}

// The modes of the files of the state. What may hold a secret is for us alone.
const (
	public  fs.FileMode = 0o644
	private fs.FileMode = 0o600
)

// save writes a file of the state, making its directory.
func (s *Store) save(content []byte, mode fs.FileMode, parts ...string) error {
	path := s.path(parts...)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("make the state directory: %w", err)
	}
	return replace(path, content, mode)
}

func ignoreClosed(err error) error {
	if errors.Is(err, os.ErrClosed) {
		return nil
	}
	return err
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
