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

	"strangler/capability"
)

// snapshot is one service's last good instances, as they are on disk.
type snapshot struct {
	Service   string          `json:"service"`
	Instances []savedInstance `json:"instances"`
	// Endpoints is what was saved before instances had weights; it is read only.
	Endpoints []string `json:"endpoints,omitempty"`
}

type savedInstance struct {
	Address string `json:"address"`
	Weight  int    `json:"weight"`
	Zone    string `json:"zone,omitempty"`
}

func (d *Discovery) snapshotFile(service string) string {
	return filepath.Join(d.saved, url.PathEscape(service)+".json")
}

// recall reads what was saved; nothing when there is none that can be used.
func (d *Discovery) recall(service string) []capability.Instance {
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
		err = fmt.Errorf("it holds the instances of %q", saved.Service)
	}
	if err != nil {
		d.log.Warn("saved instances not read", slog.String("service", service), slog.Any("error", err))
		return nil
	}
	for _, endpoint := range saved.Endpoints {
		saved.Instances = append(saved.Instances, savedInstance{Address: endpoint, Weight: 1})
	}
	all := make([]capability.Instance, 0, len(saved.Instances))
	for _, one := range saved.Instances {
		all = append(all, capability.Instance(one))
	}
	return all
}

func (d *Discovery) save(service string, all []capability.Instance) error {
	if d.saved == "" {
		return nil
	}
	saved := snapshot{Service: service, Instances: make([]savedInstance, 0, len(all))}
	for _, one := range all {
		saved.Instances = append(saved.Instances, savedInstance(one))
	}
	content, err := json.Marshal(saved)
	if err != nil {
		return err
	}
	return replaceFile(d.snapshotFile(service), append(content, '\n'))
}

// replaceFile writes the file whole, and makes its directory: a reader finds the
// old or the new content.
func replaceFile(path string, content []byte) (err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	temp, err := os.CreateTemp(filepath.Dir(path), ".*.tmp")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(temp.Name()))
		}
	}()
	_, err = temp.Write(content)
	if err = errors.Join(err, temp.Sync(), temp.Close()); err != nil {
		return err
	}
	return os.Rename(temp.Name(), path)
}
