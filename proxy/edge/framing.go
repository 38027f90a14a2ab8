package edge

import "bytes"

// framing follows where the requests of one HTTP/1 connection begin and end, as
// RFC 9112 frames them and without its leniencies. Its unit is the line: whoever
// parses the same bytes acts on a line when it sees the LF, and framing does not
// let the LF of a bad line pass. Bodies are counted, not read.
type framing struct {
	step   step
	left   uint64 // of a body or a chunk
	line   []byte // the beginning of a line whose end has not come
	head   head   // of the request that is under way
	number int    // of requests that have ended
	size   int    // bytes of the head's lines so far
	fields int    // bytes of trailer so far
	most   int    // bytes of a head
	h2c    bool   // the connection may turn out to be HTTP/2
	post   bool   // the request before was a POST
}

type step int

const (
	stepRequest   step = iota // the request line
	stepField                 // a line of the header
	stepBody                  // left bytes
	stepSize                  // the line before a chunk
	stepData                  // left bytes of a chunk
	stepDataEnd               // the line end behind a chunk
	stepTrailer               // a line of the trailer
	stepUndecided             // behind a request that may upgrade the connection
	stepOpaque                // not HTTP/1: not ours to judge
)

// Longest line before a chunk and longest trailer, in bytes. A chunk extension
// has no use that anybody knows, and trailers are a handful of checksums.
const (
	mostSizeLine = 256
	mostTrailer  = 2 << 10 // net/http wants it to fit into 4 KiB
)

// body reports whether the client owes us some of a request's body.
func (f *framing) body() bool { return stepBody <= f.step && f.step <= stepTrailer }

// between reports whether no byte of the next request has come.
func (f *framing) between() bool { return f.step == stepRequest && len(f.line) == 0 }

// follow returns how many bytes of p may be passed on, and the reason why the
// next line may not. It stops early, without a reason, where nothing can be said
// before the request is answered: at the end of one that asks for an upgrade.
func (f *framing) follow(p []byte) (n int, err error) {
	for n < len(p) {
		switch f.step {
		case stepOpaque:
			return len(p), nil
		case stepUndecided:
			return n, nil
		case stepBody, stepData:
			k := min(f.left, uint64(len(p)-n))
			n += int(k)
			if f.left -= k; f.left == 0 {
				f.counted()
			}
		default:
			k, err := f.follow1(p[n:])
			if err != nil {
				return n, err
			}
			n += k
		}
	}
	return n, nil
}

// follow1 takes one line, or the part of it that has come.
func (f *framing) follow1(p []byte) (int, error) {
	end := bytes.IndexByte(p, '\n') + 1
	if end == 0 {
		if f.step == stepDataEnd && (len(f.line) > 0 || string(p) != "\r") {
			return 0, errChunkEnd // two bytes are read there, and not a line
		}
		if len(f.line)+len(p) > f.longest() {
			return 0, f.tooLong()
		}
		f.line = append(f.line, p...)
		return len(p), nil
	}
	line := p[:end]
	if len(f.line) > 0 {
		f.line = append(f.line, line...)
		line = f.line
	}
	if len(line) > f.longest() {
		return 0, f.tooLong()
	}
	text, err := lineText(line)
	if err == nil {
		err = f.take(text)
	}
	if f.line = f.line[:0]; cap(f.line) > 4<<10 {
		f.line = nil // most lines are short: no connection keeps the memory of a long one
	}
	return end, err
}

// longest is how long the present line may be.
func (f *framing) longest() int {
	switch f.step {
	case stepRequest:
		return f.most
	case stepField:
		return f.most - f.size
	case stepTrailer:
		return mostTrailer
	default:
		return mostSizeLine
	}
}

func (f *framing) tooLong() error {
	if f.step == stepRequest || f.step == stepField {
		return errHeadTooLarge
	}
	return errLineTooLong
}

// take moves on by one whole line, given without its end.
func (f *framing) take(line []byte) error {
	switch f.step {
	case stepRequest:
		f.size = len(line) + len("\r\n")
		return f.requestLine(line)
	case stepField:
		f.size += len(line) + len("\r\n")
		if len(line) > 0 {
			return f.head.field(line)
		}
		return f.headEnd()
	case stepSize:
		size, err := chunkSize(line)
		if err != nil {
			return err
		}
		f.step, f.left = stepData, size
		if size == 0 {
			f.step, f.fields = stepTrailer, 0
		}
		return nil
	case stepDataEnd:
		f.step = stepSize
		if len(line) > 0 {
			return errChunkEnd
		}
		return nil
	default: // stepTrailer
		if len(line) == 0 {
			f.requestEnd()
			return nil
		}
		if f.fields += len(line); f.fields > mostTrailer {
			return errLineTooLong
		}
		return trailerField(line)
	}
}

func (f *framing) requestLine(line []byte) error {
	if f.h2c && f.number == 0 && string(line) == "PRI * HTTP/2.0" {
		// Should it not go on like a preface, net/http finds a request with the method
		// PRI; the server refuses that one.
		f.step = stepOpaque
		return nil
	}
	if len(line) == 0 && f.post {
		f.post = false // one empty line behind a POST: RFC 9112, section 2.2; net/http skips it too
		return nil
	}
	f.head = head{}
	f.step = stepField
	return f.head.requestLine(line)
}

func (f *framing) headEnd() error {
	if err := f.head.end(); err != nil {
		return err
	}
	switch {
	case f.head.chunked:
		f.step = stepSize
	case f.head.length > 0:
		f.step, f.left = stepBody, f.head.length
	default:
		f.requestEnd()
	}
	return nil
}

// counted is called when the last byte of a body or of a chunk has passed.
func (f *framing) counted() {
	if f.step == stepData {
		f.step = stepDataEnd
		return
	}
	f.requestEnd()
}

func (f *framing) requestEnd() {
	f.number++
	f.post = f.head.post
	f.step = stepRequest
	if f.head.upgrade {
		f.step = stepUndecided
	}
}

// poison returns bytes that make net/http refuse what it has read so far of the
// line that is being judged, wherever in the line that is. In a header and a
// trailer a name is missing; before a chunk a CR is bare; behind one it is not
// the end that must come.
func (f *framing) poison() []byte {
	switch f.step {
	case stepSize:
		return []byte("\r\r\n")
	case stepDataEnd:
		return []byte("\x00\x00")
	default:
		return []byte("\x00\r\n:\r\n\r\n")
	}
}
