package proxy

import (
	"errors"
	"mime"
	"net/http"
	"time"

	"strangler/capability"
	"strangler/proxy/tunnel"
)

// errMoved ends a stream whose side is about to own its capability no more.
var errMoved = errors.New("the owner of this data is changing: ask again")

// openStream is an exchange that goes on for as long as both ends like: an upgraded
// connection, an event stream or a stream of gRPC. It is in its capability's hold from
// the moment on at which it shows as one.
type openStream struct {
	key    writeKey
	side   capability.Side
	owner  capability.Side          // by the state that it was decided by
	writes bool                     // it may: once it has to end it is a write in flight, until it is gone
	end    func(capability.Streams) // must not block

	ending bool // guarded by hold.mu; end was called, or is about to be
}

// use takes over the rule for streams. It holds from the next switch on.
func (h *hold) use(rule capability.Streams) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.rule = rule
}

// enlist takes a stream in, until delist. One that comes too late ends at once: the
// capability is held, or has another owner than it was sent to.
//
// The caller enlists the stream of a counted write before the write leaves, so that there
// is no moment at which neither is counted.
func (h *hold) enlist(s *openStream) {
	h.mu.Lock()
	h.streams[s] = struct{}{}
	e := h.effective
	late := e.HasData && s.side == s.owner && (e.Phase == capability.Switching && s.side == e.Owner || s.owner != e.Owner)
	due := late && h.due(s)
	rule := h.rule
	h.mu.Unlock()
	if due {
		s.end(rule)
	}
}

// delist ends what enlist began. It may be called again.
func (h *hold) delist(s *openStream) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, there := h.streams[s]; !there {
		return
	}
	delete(h.streams, s)
	if s.ending && s.writes {
		h.uncount(s.key)
	}
}

// due reports whether a stream has to end that did not have to before. If it may write it
// is a write in flight from now on. Called with mu held.
func (h *hold) due(s *openStream) bool {
	if !h.rule.Ends() || s.ending {
		return false
	}
	s.ending = true
	if s.writes {
		h.count(s.key)
	}
	return true
}

// ending takes the streams that have to end because of the state that has come, which
// may be the new owner's, where this proxy has heard of no switch. Those that are at the
// side that takes over stay: until now its gate has refused their writes. Called with mu
// held.
func (h *hold) ending(before capability.Effective) []*openStream {
	now := h.effective
	old := now.Owner
	switch {
	case !now.HasData:
		return nil
	case now.Phase == capability.Switching && before.Phase != capability.Switching:
	case now.Owner != before.Owner:
		old = before.Owner
	default:
		return nil
	}
	var out []*openStream
	for s := range h.streams {
		if s.side == old && h.due(s) {
			out = append(out, s)
		}
	}
	return out
}

// endsStreams reports whether the streams of a route end with a switch.
func (r *route) endsStreams() bool {
	e := r.binding.effective
	return e.HasData && e.Retired.IsZero() && r.binding.document.Resilience.Streams.Ends()
}

// mayUpgrade reports whether a request asks for a connection of its own, on which anything
// may be written.
func mayUpgrade(r *http.Request) bool { return len(r.Header["Upgrade"]) > 0 && len(asked(r)) > 0 }

// asksForStream reports whether a request says that its answer is to last. Clients of gRPC
// do not say it.
func asksForStream(r *http.Request) bool {
	for element := range elements(r.Header["Accept"]) {
		if base, _, err := mime.ParseMediaType(element); err == nil && base == "text/event-stream" {
			return true
		}
	}
	return mayUpgrade(r)
}

// outwait lets a read that asks for a stream wait while the owner changes: at the old
// owner's side the stream would end as soon as it has begun.
func (x *exchange) outwait() *refusal {
	if x.route.binding.effective.Phase != capability.Switching || !x.route.endsStreams() || !asksForStream(x.request) {
		return nil
	}
	if refused := x.pass(true); refused != nil {
		return refused
	}
	x.route.binding.lasting.hold.leave(x.key())
	return nil
}

// key is how the exchange is counted, and named.
func (x *exchange) key() writeKey { return writeKey{x.request.Method, x.route.Path} }

// newStream describes the exchange; nil where no capability claims it.
func (x *exchange) newStream(end func(capability.Streams)) *openStream {
	if x.route == nil {
		return nil
	}
	return &openStream{key: x.key(), side: x.side, owner: x.owner, writes: x.class == capability.Write, end: end}
}

// enlistTunnel makes an upgraded connection known to the hold, in the place of the counted
// write that it was. The caller calls delist.
func (x *exchange) enlistTunnel(t *tunnel.Tunnel) (delist func()) {
	s := x.newStream(func(rule capability.Streams) {
		// Either may take a moment: who is told may not listen, and TLS says goodbye.
		if rule == capability.StreamsClose {
			go t.Close()
			return
		}
		go t.Part(x.proxy.options.Hold.Grace)
	})
	if s == nil {
		return func() {}
	}
	h := x.route.binding.lasting.hold
	h.enlist(s)
	x.endWrite()
	return func() { h.delist(s) }
}

// enlistAnswer does so for an answer that lasts, until delistAnswer. Its end is that of
// the exchange with the side; the client may take its time to hear of it.
func (x *exchange) enlistAnswer() {
	s := x.newStream(nil)
	if s == nil {
		return
	}
	s.end = func(rule capability.Streams) {
		cut := func() { x.cancel(errMoved); x.route.binding.lasting.hold.delist(s) }
		if rule == capability.StreamsClose {
			cut()
			return
		}
		time.AfterFunc(x.proxy.options.Hold.Grace, cut) // too late where it has gone by itself
	}
	x.giving.Lock()
	defer x.giving.Unlock()
	if x.over {
		return
	}
	x.lasting = s
	x.route.binding.lasting.hold.enlist(s)
}

// delistAnswer runs when the exchange is over.
func (x *exchange) delistAnswer() {
	x.giving.Lock()
	defer x.giving.Unlock()
	x.over = true
	if x.lasting != nil {
		x.route.binding.lasting.hold.delist(x.lasting)
		x.lasting = nil
	}
}
