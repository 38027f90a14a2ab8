package main

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"strangler/capability"
	"strangler/internal/config"
	"strangler/internal/consul"
	"strangler/internal/files"
	"strangler/proxy"
)

func newStore(settings config.Config, log *slog.Logger) *files.Store {
	return files.New(files.Options{Routes: settings.Routes, State: settings.State, Decode: decode, Apply: config.Apply, Log: log})
}

// decode reads documents and holds them against each other. What the proxies
// could not serve together is a problem for the store, too: otherwise the
// controller would act on a document that no proxy serves.
func decode(dir string, contents map[string][]byte) ([]capability.Document, []capability.Problem) {
	docs, problems := config.Documents(dir, contents)
	return docs, append(problems, proxy.Check(docs)...)
}

// readDocuments reads the documents as they are now, good or not.
func readDocuments(dir string) (map[string][]byte, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("read documents: %w", err)
	}
	contents := map[string][]byte{}
	for _, entry := range entries {
		name := entry.Name()
		if !files.IsDocument(name) {
			continue
		}
		if contents[name], err = os.ReadFile(filepath.Join(dir, name)); err != nil {
			return nil, fmt.Errorf("read documents: %w", err)
		}
	}
	return contents, nil
}

func newDiscovery(settings config.Config, log *slog.Logger) (*consul.Discovery, error) {
	return consul.NewDiscovery(consul.Options{Address: settings.Consul.Address, Token: settings.Consul.Token, Datacenter: settings.Consul.Datacenter,
		Snapshot: filepath.Join(settings.State, "consul"), Log: log})
}
