package stage

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"testbed/process"
)

// Type runs one strangler command as a person would type it, passes its output on line by line, and blocks until it has
// ended. The error, if it did not exit with 0, carries what it said.
func (s *Stage) Type(ctx context.Context, line func(string), args ...string) (err error) {
	log, err := os.OpenFile(filepath.Join(s.Logs(), "commands.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("log command: %w", err)
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	fmt.Fprintf(log, "$ strangler %s\n", strings.Join(args, " "))
	reader, writer, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("read command: %w", err)
	}
	defer func() { _ = reader.Close() }() // only read from
	cmd := s.command("strangler", nil, append([]string{"-c", s.Config()}, args...))
	cmd.Stdout, cmd.Stderr = writer, writer
	running, err := process.Start(cmd, syscall.SIGTERM)
	if err := errors.Join(err, writer.Close()); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() {
		// Killed after its grace time or gone: either way it ends, and the loop below with it.
		_ = running.Stop(syscall.SIGINT, graceful)
	})
	defer stop()
	last, err := passOn(reader, log, line)
	if err != nil {
		return fmt.Errorf("read command: %w", err)
	}
	<-running.Done()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err := running.Err(); err != nil {
		return fmt.Errorf("strangler %s: %w: %s", strings.Join(args, " "), err, last)
	}
	return nil
}

// passOn hands each line to both until the command closes its output, and returns the last one.
func passOn(from io.Reader, log io.Writer, line func(string)) (last string, err error) {
	lines := bufio.NewScanner(from)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if text := strings.TrimRight(lines.Text(), " \r"); text != "" {
			last = text
		}
		if _, err := fmt.Fprintln(log, lines.Text()); err != nil {
			return last, err
		}
		line(lines.Text())
	}
	return last, lines.Err()
}
