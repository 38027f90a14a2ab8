package consul

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
)

// snapshot is one service's last good endpoints, as they are on disk.
type snapshot struct {
	Service   string   `json:"service"`
	Endpoints []string `json:"endpoints"`
}

func (d *Discovery) snapshotFile(service string) string {
	return filepath.Join(d.saved, url.PathEscape(service)+".json")
}

// recall reads what was saved; nothing when there is none that can be used.
func (d *Discovery) recall(service string) []string {
	if d.saved == "" {
		return nil
	}
	content, err := os.ReadFile(d.snapshotFile(service))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var saved snapshot
	if err == nil {
		err = json.Unmarshal(content, &saved)
	}
	if err == nil && saved.Service != service {
		err = fmt.Errorf("it holds the endpoints of %q", saved.Service)
	}
	if err != nil {
		d.log.Warn("saved endpoints not read", slog.String("service", service), slog.Any("error", err))
		return nil
	}
	return saved.Endpoints
}

// save replaces the file whole: a reader finds the old or the new content.
func (d *Discovery) save(service string, endpoints []string) (err error) {
	if d.saved == "" {
		return nil
	}
	content, err := json.Marshal(snapshot{Service: service, Endpoints: endpoints})
	if err != nil {
		return err
	}
	if err := os.MkdirAll(d.saved, 0o755); err != nil {
		return err
	}
	temp, err := os.CreateTemp(d.saved, ".*.tmp")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(temp.Name()))
		}
	}()
	_, err = temp.Write(append(content, '\n'))
	if err = errors.Join(err, temp.Sync(), temp.Close()); err != nil {
		return err
	}
	return os.Rename(temp.Name(), d.snapshotFile(service))
}
