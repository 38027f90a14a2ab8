package files

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/fsnotify/fsnotify"
)

// poll is how often the directories are looked at without having been told:
// network mounts tell nothing, and a directory that is replaced takes its watch
// with it.
const poll = time.Second

// Watch returns a channel that wakes its reader after documents or effective
// states changed: within milliseconds where the system tells, within a second
// elsewhere. It has one slot, so a reader that is busy is woken once for many
// changes; it says nothing of what changed. It is closed when ctx ends. A change
// made after Watch has returned is never missed.
func (s *Store) Watch(ctx context.Context) <-chan struct{} {
	dirs := []string{s.folder.Dir, s.path("effective")}
	if err := os.MkdirAll(s.path("effective"), 0o755); err != nil {
		s.log.Warn("state directory not made", slog.Any("error", err))
	}
	w := &watch{dirs: dirs, log: s.log, waiting: &s.waiting, signals: make(chan struct{}, 1)}
	notify, err := fsnotify.NewWatcher()
	if err != nil {
		s.log.Warn("no file notifications; looking every second", slog.Any("error", err))
	}
	w.notify = notify
	w.listen()
	w.seen = fingerprint(dirs)
	go w.run(ctx)
	return w.signals
}

type watch struct {
	dirs    []string
	log     *slog.Logger
	notify  *fsnotify.Watcher // nil: only polling
	waiting *atomic.Bool      // the reader has to look again, though nothing changes
	signals chan struct{}
	seen    string
}

func (w *watch) run(ctx context.Context) {
	defer close(w.signals)
	var events <-chan fsnotify.Event
	var failures <-chan error
	if w.notify != nil {
		events, failures = w.notify.Events, w.notify.Errors
		defer w.stop()
	}
	ticker := time.NewTicker(poll)
	defer ticker.Stop()
	later := time.NewTimer(poll)
	later.Stop()
	defer later.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case event := <-events:
			if event.Op == fsnotify.Chmod || strings.HasSuffix(event.Name, temporary) {
				continue
			}
			w.signal()
			if event.Has(fsnotify.Remove) || event.Has(fsnotify.Rename) {
				later.Reset(settle + settle/4) // when Load believes that it is gone
			}
		case err := <-failures: // the queue overflowed: something was missed
			w.log.Debug("file notifications failed", slog.Any("error", err))
			w.signal()
		case <-later.C:
			w.signal()
		case <-ticker.C:
			w.listen()
			if now := fingerprint(w.dirs); now != w.seen {
				w.seen = now
				w.signal()
				later.Reset(settle + settle/4)
			}
			// It saw that something is gone later than we did.
			if w.waiting.Load() {
				w.signal()
			}
		}
	}
}

// listen asks for notifications of every directory. It is repeated, because a
// directory may be made, or replaced by another of the same name, later.
func (w *watch) listen() {
	if w.notify == nil {
		return
	}
	for _, dir := range w.dirs {
		if err := w.notify.Add(dir); err != nil {
			w.log.Debug("directory not watched", slog.String("directory", dir), slog.Any("error", err))
		}
	}
}

func (w *watch) stop() {
	if err := w.notify.Close(); err != nil {
		w.log.Debug("file notifications not closed", slog.Any("error", err))
	}
}

func (w *watch) signal() {
	select {
	case w.signals <- struct{}{}:
	default:
	}
}

// fingerprint changes when a file is added, removed or written.
func fingerprint(dirs []string) string {
	var b strings.Builder
	for _, dir := range dirs {
		entries, err := os.ReadDir(dir)
		if err != nil {
			fmt.Fprintf(&b, "%s: %v\n", dir, err)
			continue
		}
		for _, entry := range entries {
			// Of what a link leads to: a mounted ConfigMap swaps its target.
			info, err := os.Stat(dir + string(os.PathSeparator) + entry.Name())
			if err != nil {
				continue // gone meanwhile; the next look says so
			}
			fmt.Fprintf(&b, "%s %d %d\n", entry.Name(), info.ModTime().UnixNano(), info.Size())
		}
	}
	return b.String()
}
