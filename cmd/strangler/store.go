package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/consul/api"

	"strangler/capability"
	"strangler/controller"
	"strangler/internal/config"
	"strangler/internal/consul"
	"strangler/internal/documents"
	"strangler/internal/files"
	"strangler/proxy"
)

// store is where documents, effective states, the ledger and the registrations of
// proxies are kept: files, or Consul.
type store interface {
	controller.Documents
	controller.States
	controller.Ledger
	registrations
	// Gone lists the documents that are not there although the move of their
	// capability has begun.
	Gone(ctx context.Context) ([]capability.Problem, error)
}

// heralds are stores whose Watch brings effective states along, by name.
type heralds interface {
	Heard() map[string]capability.Effective
}

// registrations are the proxies that are there.
type registrations interface {
	Register(ctx context.Context, r capability.Registration) error
	Deregister(ctx context.Context, id string) error
	Registered(ctx context.Context) ([]capability.Registration, error)
}

func newStore(settings config.Config, log *slog.Logger) (store, error) {
	if settings.Store != config.StoreConsul {
		return files.New(files.Options{Routes: settings.Routes, State: settings.State, Decode: newDecode(), Apply: config.Apply, Log: log}), nil
	}
	return newConsulStore(settings, log)
}

// forgotten is when Consul forgets the registration of a proxy that is gone, at the
// soonest. Before that its lease has ended, or a switch would go past it too early.
const forgotten = 30 * time.Second

func newConsulStore(settings config.Config, log *slog.Logger) (*consul.Store, error) {
	client, err := newConsul(settings)
	if err != nil {
		return nil, err
	}
	return consul.NewStore(consul.StoreOptions{Client: client, Prefix: settings.Consul.Prefix, Stale: settings.Consul.Stale, TTL: max(forgotten, settings.Leases.Proxy),
		Snapshot: filepath.Join(settings.State, "store"), Decode: newDecode(), Apply: config.Apply, Log: log}), nil
}

func newConsul(settings config.Config) (*api.Client, error) {
	c := settings.Consul
	return consul.Connect(consul.Server{Address: c.Address, Token: c.Token, Datacenter: c.Datacenter, TLS: consul.TLS(c.TLS)})
}

// newDecode returns what reads documents and holds them against each other, for as long
// as one process asks. What the proxies could not serve together is a problem for the
// store, too: otherwise the controller would act on a document that no proxy serves.
func newDecode() func(dir string, contents map[string][]byte) ([]capability.Document, []capability.Problem) {
	return config.NewReader(proxy.Check).Documents
}

// readDocuments reads the documents as they are now, good or not, and says where
// they are.
func readDocuments(ctx context.Context, settings config.Config) (contents map[string][]byte, dir string, err error) {
	if settings.Store == config.StoreConsul {
		s, err := newConsulStore(settings, slog.New(slog.DiscardHandler))
		if err != nil {
			return nil, "", err
		}
		contents, err = s.Contents(ctx)
		return contents, settings.Consul.Prefix + "/routes", err
	}
	contents, err = readDirectory(settings.Routes)
	return contents, settings.Routes, err
}

func readDirectory(dir string) (map[string][]byte, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("read documents: %w", err)
	}
	contents := map[string][]byte{}
	for _, entry := range entries {
		name := entry.Name()
		if !documents.IsDocument(name) {
			continue
		}
		if contents[name], err = os.ReadFile(filepath.Join(dir, name)); err != nil {
			return nil, fmt.Errorf("read documents: %w", err)
		}
	}
	return contents, nil
}

func newDiscovery(settings config.Config, log *slog.Logger) (*consul.Discovery, error) {
	c := settings.Consul
	return consul.NewDiscovery(consul.Options{Address: c.Address, Token: c.Token, Datacenter: c.Datacenter, TLS: consul.TLS(c.TLS), Stale: c.Stale,
		Snapshot: filepath.Join(settings.State, "consul"), Log: log})
}
