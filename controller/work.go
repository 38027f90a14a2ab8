package controller

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"strangler/capability"
)

// work is a capability's data while it is connected: the mover, and the
// goroutine that runs it.
type work struct {
	data     *Data
	mapping  string // what it was connected for
	database string // and by which address
	log      *slog.Logger

	mu      sync.Mutex
	stop    context.CancelFunc     // nil: the mover does not run; guarded by mu
	stopped chan struct{}          // closed when it has stopped; guarded by mu
	failed  string                 // why it stopped by itself; guarded by mu
	paused  bool                   // guarded by mu
	over    bool                   // its connections are about to be closed; guarded by mu
	unwatch func()                 // ends the watch over a mover that is paused; nil: there is none; guarded by mu
	lapsed  atomic.Pointer[string] // what became of a mover while it was paused
}

// start runs the mover until halt, and again after every failure, with growing
// pauses. It outlives the context: that may be of a command that happened to look
// first.
func (w *work) start(ctx context.Context) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.paused = false
	if w.stop != nil || w.over {
		return
	}
	w.endWatch()
	w.failed = ""
	w.lapsed.Store(nil)
	ctx, w.stop = context.WithCancel(context.WithoutCancel(ctx))
	stopped := make(chan struct{})
	w.stopped = stopped
	go func() {
		defer close(stopped)
		w.keepRunning(ctx)
	}()
}

func (w *work) keepRunning(ctx context.Context) {
	for pause := time.Second; ; pause = min(2*pause, 30*time.Second) {
		began := time.Now()
		err := w.data.Mover.Run(ctx)
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) > time.Minute {
			pause = time.Second
		}
		text := "the mover stopped without an error"
		if err != nil {
			text = err.Error()
		}
		w.fail(text)
		w.log.Error("mover stopped", "error", text, "again_in", pause)
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
			w.fail("")
		}
	}
}

func (w *work) fail(text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failed = text
}

// halt stops the mover and waits until it has stopped.
func (w *work) halt(paused bool) {
	w.mu.Lock()
	stop, stopped := w.stop, w.stopped
	w.stop, w.paused, w.failed = nil, paused, ""
	w.endWatch()
	w.mu.Unlock()
	if stop != nil {
		stop()
		<-stopped
	}
}

// rest halts the mover, and lets it look after what is kept for it meanwhile.
func (w *work) rest(paused bool) {
	w.mu.Lock()
	resting := w.stop == nil && w.unwatch != nil && w.paused == paused
	w.mu.Unlock()
	if resting {
		return
	}
	w.halt(paused)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stop == nil && !w.over {
		w.beginWatch()
	}
}

// beginWatch lets a mover rest. The caller holds mu.
func (w *work) beginWatch() {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	w.unwatch = func() { cancel(); <-ended }
	go func() {
		defer close(ended)
		if err := w.data.Mover.Rest(ctx); err != nil && ctx.Err() == nil {
			w.log.Error("paused mover", "error", err)
			text := err.Error()
			w.lapsed.Store(&text)
		}
	}()
}

// endWatch ends it. The caller holds mu.
func (w *work) endWatch() {
	if w.unwatch != nil {
		w.unwatch()
		w.unwatch = nil
	}
}

// status is the mover's, with what only its keeper knows.
func (w *work) status() capability.DataStatus {
	s := w.data.Mover.Status()
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.failed != "":
		s.Phase, s.Error = capability.PhaseFailed, w.failed
	case w.paused:
		s.Phase = capability.PhasePaused
	}
	if text := w.lapsed.Load(); text != nil {
		s.Phase, s.Error = capability.PhaseFailed, *text
	}
	return s
}

// steerData makes the mover do what the document says: connect, run, pause,
// stop. The caller holds acting.
func (r *Reconciler) steerData(ctx context.Context) error {
	doc, state, w := r.snapshot()
	if !state.Retired.IsZero() {
		r.stopData()
		return nil
	}
	if doc.Data == nil || doc.Data.State == capability.DataStopped && w == nil {
		return r.adoptStopped(ctx, doc)
	}
	if w == nil {
		var err error
		if w, err = r.connect(ctx, doc); err != nil {
			return err
		}
	}
	r.mu.Lock()
	watching := r.watching
	r.mu.Unlock()
	if watching {
		w.rest(true)
		return nil
	}
	switch doc.Data.State {
	case capability.DataRunning:
		w.start(ctx)
	case capability.DataRetired: // or so it says: what has gates is not
		if _, _, err := w.data.Gates.Read(ctx); !errors.Is(err, capability.ErrNoGate) {
			w.start(ctx)
		}
	case capability.DataPaused:
		w.rest(true)
	case capability.DataStopped:
		w.rest(false)
	}
	return nil
}

// adoptStopped connects a capability whose document says stopped although its
// gates have moved: whoever owns must stay known. A capability that never had
// gates stays unconnected.
func (r *Reconciler) adoptStopped(ctx context.Context, doc capability.Document) error {
	if doc.Data == nil || r.effective().Epoch == 0 {
		return nil
	}
	_, err := r.connect(ctx, doc)
	return err
}

func (r *Reconciler) connect(ctx context.Context, doc capability.Document) (*work, error) {
	data, err := r.options.Connect(ctx, doc, r.options.Token)
	if err != nil {
		return nil, err
	}
	w := &work{data: data, mapping: mapping(doc.Data), database: doc.Data.Database, log: r.log}
	r.mu.Lock()
	ended := r.ended
	if !ended {
		r.data = w
	}
	r.mu.Unlock()
	if ended {
		data.Close()
		return nil, errEnded
	}
	return w, nil
}

// errEnded is returned to a command that comes when the loop has ended: nobody
// would ever stop what it started.
var errEnded = errors.New("this controller is not the active one any more")

// end is the end of the loop. It waits for a command that is at work, which
// undoes what it has begun or finishes what it has decided: the connections are
// its too.
func (r *Reconciler) end() {
	r.mu.Lock()
	if !r.ended {
		r.ended = true
		close(r.ending)
	}
	r.mu.Unlock()
	r.acting.Lock()
	defer r.acting.Unlock()
	r.stopData()
}

// living returns a context for a command, which ends with the loop as well. The
// caller calls release.
func (r *Reconciler) living(ctx context.Context) (alive context.Context, release func()) {
	alive, cancel := context.WithCancelCause(ctx)
	go func() {
		select {
		case <-r.ending:
			cancel(errEnded)
		case <-alive.Done():
		}
	}()
	return alive, func() { cancel(nil) }
}

// stopData stops the mover and closes its connections.
func (r *Reconciler) stopData() {
	r.mu.Lock()
	w := r.data
	r.data, r.gates = nil, nil
	r.mu.Unlock()
	if w != nil {
		w.mu.Lock()
		w.over = true // a command may have it in its hands
		w.mu.Unlock()
		w.halt(false)
		w.data.Close()
	}
}

// begun waits for a mover that has just started, for as long as a preflight settles, and
// returns where it stands.
func (w *work) begun(ctx context.Context) capability.DataStatus {
	s := w.status()
	for deadline := time.Now().Add(settleFor); s.Phase == capability.PhasePreparing && ctx.Err() == nil && time.Now().Before(deadline); s = w.status() {
		pause(ctx, 20*time.Millisecond)
	}
	return s
}

// mapping tells two data sections apart by what a live move cannot follow: where
// the tables are and what becomes of them.
func mapping(d *capability.Data) string {
	if d == nil {
		return ""
	}
	var text string
	for _, t := range d.Tables {
		text += fmt.Sprintf("|%s>%s %s %v", t.Table, t.As, t.Mode, t.Columns)
		if len(t.Computed)+len(t.Omit) > 0 || t.Where != "" || t.Lossy {
			computed := slices.Clone(t.Computed)
			for i := range computed {
				computed[i].Line = 0 // a comment above it changes nothing
			}
			text += fmt.Sprintf(" %+v %q %q %v", computed, t.Omit, t.Where, t.Lossy)
		}
	}
	for _, b := range d.Border {
		text += fmt.Sprintf("|%s %s", b.Constraint, b.AtSwitch)
	}
	return text
}

// refusedIn is how long a status waits for both databases to tell what they have
// refused. One that is away must not keep it: that is when it is asked for.
const refusedIn = 250 * time.Millisecond

// refused is what each gate has refused, as far as that can be told now.
func (w *work) refused(ctx context.Context) map[capability.Side]capability.Refusals {
	if w.data.Refusals == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, refusedIn)
	defer cancel()
	counts := map[capability.Side]capability.Refusals{}
	for _, side := range capability.Sides {
		if n, err := w.data.Refusals.Refused(ctx, side); err == nil && n.Count > 0 {
			counts[side] = n
		}
	}
	return counts
}
