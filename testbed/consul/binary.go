// Package consul runs a Consul agent of its own: found or built, started as a direct child, stopped with its parent.
//
// It owns the agent's process and its folder; what is stored in it, and who registers there, belongs to the caller.
package consul

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
)

// Version of the agent that is built where none is on PATH. It is the one that tools/consul pins.
const Version = "1.19.2"

// source is the main package to build, within the module tools/consul.
const source = "github.com/hashicorp/consul"

// Find names an executable agent: the one on PATH, else the one in the user's cache directory, which is built there
// first when it is missing. Building takes about five minutes and 6 GB of module cache, once; processes that want it at
// the same time wait for the one that builds. Without a Go toolchain or the sources the error says what to type.
func Find(ctx context.Context, log *slog.Logger) (string, error) {
	if path, err := exec.LookPath("consul"); err == nil {
		return path, nil
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find a place for the Consul agent: %w", err)
	}
	binary := filepath.Join(cache, "strangler", "consul-"+Version)
	return binary, buildOnce(ctx, log, binary, build)
}

// buildOnce makes sure that the binary exists, by calling build if it does not. Only one process builds at a time, and
// the binary appears whole or not at all.
func buildOnce(ctx context.Context, log *slog.Logger, binary string, build func(ctx context.Context, output string) error) (err error) {
	if exists(binary) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(binary), 0o755); err != nil {
		return fmt.Errorf("make folder for the Consul agent: %w", err)
	}
	unlock, err := lock(binary + ".lock")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	if exists(binary) {
		return nil // somebody else has built it while we waited
	}
	log.Info("building the Consul agent for the tests: about five minutes, once", "version", Version, "into", binary)
	began := time.Now()
	half := binary + ".half"
	if err := build(ctx, half); err != nil {
		return err
	}
	if err := os.Rename(half, binary); err != nil {
		return fmt.Errorf("put the Consul agent in place: %w", err)
	}
	log.Info("Consul agent built", "took", time.Since(began).Round(time.Second))
	return nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// lock blocks until this process holds the file's lock, which ends with the process however it ends.
func lock(path string) (unlock func() error, err error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("lock the building of Consul: %w", err)
	}
	for {
		err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX)
		if !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if err != nil {
		return nil, fmt.Errorf("lock the building of Consul: %w", errors.Join(err, file.Close()))
	}
	return file.Close, nil
}

// build compiles the agent from the module that pins it.
func build(ctx context.Context, output string) error {
	dir := toolsDir()
	if !exists(filepath.Join(dir, "go.mod")) {
		return fmt.Errorf("no Consul agent on PATH and no sources in %s; put consul %s on PATH", dir, Version)
	}
	args := []string{"build", "-trimpath", "-ldflags", "-s -w", "-o", output, source}
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	// The workspace does not know the module, and flags of the run at hand (-race, -mod) are not for it.
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=-buildvcs=false")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build the Consul agent (go build in %s, or put consul %s on PATH): %w\n%s", dir, Version, err, out)
	}
	return nil
}

// toolsDir is where the repository keeps the module, as seen from this source file.
func toolsDir() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..", "tools", "consul")
}
