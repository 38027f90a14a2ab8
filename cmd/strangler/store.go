package main

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"strangler/internal/config"
	"strangler/internal/consul"
	"strangler/internal/files"
)

func newStore(settings config.Config, log *slog.Logger) *files.Store {
	return files.New(files.Options{Routes: settings.Routes, State: settings.State, Decode: config.Documents, Apply: config.Apply, Log: log})
}

// readDocuments reads the documents as they are now, good or not.
func readDocuments(dir string) (map[string][]byte, error) {
	names, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil {
		return nil, fmt.Errorf("list documents: %w", err)
	}
	if _, err := os.Stat(dir); err != nil {
		return nil, fmt.Errorf("read documents: %w", err)
	}
	contents := map[string][]byte{}
	for _, name := range names {
		content, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("read documents: %w", err)
		}
		contents[filepath.Base(name)] = content
	}
	return contents, nil
}

func newDiscovery(settings config.Config, log *slog.Logger) (*consul.Discovery, error) {
	return consul.NewDiscovery(consul.Options{Address: settings.Consul.Address, Token: settings.Consul.Token, Datacenter: settings.Consul.Datacenter,
		Snapshot: filepath.Join(settings.State, "consul"), Log: log})
}
