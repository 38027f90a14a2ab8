package tunnel

import (
	"bufio"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Options is how long a tunnel may be silent.
type Options struct {
	// Idle is the longest silence in both directions together; 0: for ever.
	Idle time.Duration
	// Linger is the longest silence of one direction after the other has ended; 0:
	// 30 s. A peer that never ends its half would else keep a goroutine and two
	// connections, one of them in FIN_WAIT2, for good.
	Linger time.Duration
	// WebSocket says that the two speak that protocol. Each is told then that the server
	// goes away (a close frame, status 1001) when the tunnel is cut, behind the frame that
	// is under way.
	WebSocket bool
}

const defaultLinger = 30 * time.Second

// partWithin bounds the wait for the ends of two frames, and for both sides of a
// WebSocket to go by themselves once they were told. Closing at once would throw away
// what they are told, where they are sending.
const partWithin = time.Second

// parting is how a tunnel is ended from this side.
type parting struct {
	within time.Duration // for both sides of a WebSocket that was told; 0: nobody is told
	waits  bool          // so long for any other protocol as well
}

// atTheEnd is that of a drain, whose patience is over.
var atTheEnd = parting{within: partWithin}

// End says what ended a tunnel.
type End string

// The ways in which a tunnel ends.
const (
	Closed   End = "closed"  // both halves were ended by those who wrote them
	Broken   End = "broken"  // a connection failed
	Idle     End = "idle"    // nothing moved for Options.Idle
	Lingered End = "linger"  // one half had ended and the other was silent for Options.Linger
	Drained  End = "drained" // from this side, by Set.Drain, Cut, Part or Close
)

// Result is what became of a tunnel.
type Result struct {
	End          End
	FromClient   int64 // bytes taken by the upstream
	FromUpstream int64 // bytes taken by the client
	Err          error // of Broken
}

// Carry copies both ways until both have ended, and closes both connections. The
// end of one half is passed on as just that, where the receiving connection has a
// CloseWrite; where it has none the tunnel ends, because its peer would never learn
// of it. Early holds what was read from the client too soon, and is drained first;
// it may be nil.
//
// Carry blocks as long as the tunnel lives, and no goroutine outlives it. Closing a
// connection must end its reads and writes, as net.Conn promises.
func (t *Tunnel) Carry(client net.Conn, early *bufio.Reader, upstream io.ReadWriteCloser, o Options) Result {
	c := &carriage{client: client, upstream: upstream, idle: o.Idle, linger: o.Linger, started: time.Now(), over: make(chan struct{})}
	if c.linger <= 0 {
		c.linger = defaultLinger
	}
	if o.WebSocket {
		c.up, c.down = &way{dst: upstream, frames: frames{masked: true}}, &way{dst: client}
	}
	var wg, parting sync.WaitGroup
	if how, ends := t.enter(c); ends {
		if how.within == 0 || !o.WebSocket && !how.waits {
			c.stop(Drained)
			return c.result()
		}
		parting.Go(func() { c.part(how) })
	}
	c.watch()
	wg.Go(func() { c.copy(client, upstream, &c.fromUpstream, c.down) })
	c.copyEarly(early)
	wg.Wait()
	close(c.over)
	parting.Wait()
	c.stop(Closed)
	return c.result()
}

// carriage is the state of one Carry.
type carriage struct {
	client   net.Conn
	upstream io.ReadWriteCloser
	idle     time.Duration // 0: never
	linger   time.Duration
	started  time.Time
	up, down *way          // of a WebSocket; nil else
	over     chan struct{} // closed when nothing is copied any more

	fromClient, fromUpstream atomic.Int64
	moved                    atomic.Int64 // when a byte moved last, in nanoseconds since started

	mu    sync.Mutex
	timer *time.Timer // guarded by mu; nil while silence does not matter
	half  bool        // guarded by mu; one direction has ended
	parts bool        // guarded by mu; both sides are being told that it ends
	end   End         // guarded by mu; empty while both connections are open
	err   error       // guarded by mu
}

func (c *carriage) copyEarly(early *bufio.Reader) {
	var src io.Reader = c.client
	if early != nil && early.Buffered() > 0 {
		// Peek cannot fail: so much is buffered. The reader itself is let go with its buffer.
		first, _ := early.Peek(early.Buffered())
		src = &prefixed{first: first, rest: c.client}
	}
	c.copy(c.upstream, src, &c.fromClient, c.up)
}

// copy moves one direction to its end. w is nil but for a WebSocket's.
func (c *carriage) copy(dst io.Writer, src io.Reader, count *atomic.Int64, w *way) {
	var b buffer
	for {
		n, err := src.Read(b.space())
		if n > 0 {
			c.moved.Store(int64(time.Since(c.started)))
			piece := b.space()[:n]
			if w != nil {
				piece = w.begin(piece)
			}
			written, failed := len(piece), error(nil)
			if len(piece) > 0 {
				written, failed = dst.Write(piece)
			}
			count.Add(int64(written))
			if failed != nil {
				if w != nil {
					w.giveUp()
				}
				// What the peer sent before it went may still be on its way to the other.
				c.ended(failed)
				return
			}
			c.moved.Store(int64(time.Since(c.started)))
			if w != nil {
				w.over()
			}
			b.fit(n)
		}
		if err != nil && w != nil && w.ended() {
			return // the other direction may still have something to tell
		}
		if err == io.EOF { //nolint:errorlint // io.Reader promises this very value at an end; wrapped it is none
			c.pass(dst)
			return
		}
		if err != nil {
			c.fail(err)
			return
		}
	}
}

// pass hands the end of a half on.
func (c *carriage) pass(dst io.Writer) {
	half, ok := dst.(interface{ CloseWrite() error })
	if !ok {
		c.stop(Closed)
		return
	}
	c.ended(nil)
	if err := half.CloseWrite(); err != nil {
		// Not supported further down, or the peer is gone: the same as no CloseWrite.
		c.stop(Closed)
	}
}

// ended starts the linger when the first of two directions is over.
func (c *carriage) ended(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.err = err
	}
	c.half = true
	if c.end != "" {
		return
	}
	if c.timer != nil {
		c.timer.Stop()
	}
	c.moved.Store(int64(time.Since(c.started)))
	c.timer = time.AfterFunc(c.patience(), c.check)
}

// watch starts the idle time.
func (c *carriage) watch() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.idle > 0 && c.end == "" {
		c.timer = time.AfterFunc(c.idle, c.check)
	}
}

// patience is how long nothing may move. Called with c.mu held.
func (c *carriage) patience() time.Duration {
	if c.half && (c.idle <= 0 || c.linger < c.idle) {
		return c.linger
	}
	return c.idle
}

// check runs when the timer does: the time is not set back for every piece that
// moves, but looked at when it would be over.
func (c *carriage) check() {
	c.mu.Lock()
	left := c.patience() - (time.Since(c.started) - time.Duration(c.moved.Load()))
	if c.end != "" || left > 0 {
		if c.end == "" {
			c.timer.Reset(left)
		}
		c.mu.Unlock()
		return
	}
	why := Idle
	if c.half {
		why = Lingered
	}
	c.mu.Unlock()
	c.stop(why)
}

func (c *carriage) fail(err error) {
	c.mu.Lock()
	if c.err == nil && c.end == "" {
		c.err = err
	}
	c.mu.Unlock()
	c.stop(Broken)
}

// part ends the tunnel from this side, a WebSocket by telling both of its sides. It
// returns when the connections are closed, unless it was called before.
func (c *carriage) part(how parting) {
	c.mu.Lock()
	if c.parts {
		c.mu.Unlock()
		return
	}
	tell := c.up != nil && c.end == "" && how.within > 0
	c.parts = true
	c.mu.Unlock()
	if tell {
		var told sync.WaitGroup
		c.up.announce()
		c.down.announce()
		told.Go(c.up.part)
		told.Go(c.down.part)
		defer told.Wait() // behind stop, which ends a write that hangs
	}
	if tell || how.waits {
		patience := time.NewTimer(how.within)
		defer patience.Stop()
		select {
		case <-c.over:
		case <-patience.C:
		}
	}
	c.stop(Drained)
}

// stop closes both connections, which ends both directions. The first reason counts.
func (c *carriage) stop(why End) {
	c.mu.Lock()
	if c.end != "" {
		c.mu.Unlock()
		return
	}
	if c.parts {
		why = Drained
	}
	if why == Closed && c.err != nil {
		why = Broken
	}
	c.end = why
	if c.timer != nil {
		c.timer.Stop()
	}
	c.mu.Unlock()
	// They may be closed or broken already; there is nobody left to tell.
	_ = c.client.Close()
	_ = c.upstream.Close()
}

func (c *carriage) result() Result {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := Result{End: c.end, FromClient: c.fromClient.Load(), FromUpstream: c.fromUpstream.Load()}
	if r.End == Broken {
		r.Err = c.err
	}
	return r
}
