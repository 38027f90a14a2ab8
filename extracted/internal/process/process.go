// Package process is what the main functions of the extracted services share: environment, log, signals.
package process

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
)

// Env returns a required environment variable.
func Env(name string) (string, error) {
	value := os.Getenv(name)
	if value == "" {
		return "", fmt.Errorf("%s must be set", name)
	}
	return value, nil
}

// EnvOr returns an environment variable, or fallback where it is unset.
func EnvOr(name, fallback string) string { return cmp.Or(os.Getenv(name), fallback) }

// Logger writes one JSON object per line, from LOG_LEVEL (default info) upwards.
func Logger(out io.Writer, service string) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(EnvOr("LOG_LEVEL", "info"))); err != nil {
		return nil, fmt.Errorf("read LOG_LEVEL: %w", err)
	}
	return slog.New(slog.NewJSONHandler(out, &slog.HandlerOptions{Level: level})).With("service", service), nil
}

// Interrupted returns a context that ends with SIGTERM or SIGINT.
func Interrupted() (context.Context, context.CancelFunc) {
	return signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
}
