package edge

import (
	"bytes"
	"errors"
)

// What the guard refuses, in the words of its log line.
var (
	errBareLF         = errors.New("a line ends without CR")
	errControl        = errors.New("a control character in a line")
	errLineTooLong    = errors.New("a line is too long")
	errHeadTooLarge   = errors.New("request line and header are too large")
	errRequestLine    = errors.New("malformed request line")
	errFieldName      = errors.New("malformed header name")
	errFold           = errors.New("a header is folded over lines")
	errNoHost         = errors.New("no Host")
	errTwoHosts       = errors.New("more than one Host")
	errTwoLengths     = errors.New("more than one Content-Length")
	errLength         = errors.New("malformed Content-Length")
	errCoding         = errors.New("a Transfer-Encoding other than one chunked")
	errCodingOld      = errors.New("Transfer-Encoding in HTTP/1.0")
	errLengthCoding   = errors.New("both Content-Length and Transfer-Encoding")
	errFramingField   = errors.New("a framing header spelled with an underscore")
	errTrailerFraming = errors.New("a framing header in a trailer")
	errTrailerName    = errors.New("malformed name in Trailer")
	errChunkSize      = errors.New("malformed chunk size")
	errChunkEnd       = errors.New("a chunk does not end where it says")
)

// head is what the lines of one request's head have said about its framing.
type head struct {
	old      bool // HTTP/1.0
	post     bool
	upgrade  bool // the connection may be something else afterwards
	host     bool
	sized    bool // Content-Length was there
	chunked  bool
	declared bool // Transfer-Encoding was there
	length   uint64
}

// lineText returns a line without its end, which must be CRLF, and refuses
// control characters in it: CR and NUL before all (go.dev/issue/53188).
func lineText(line []byte) ([]byte, error) {
	if len(line) < 2 || line[len(line)-2] != '\r' {
		return nil, errBareLF
	}
	line = line[:len(line)-2]
	for _, b := range line {
		if b < ' ' && b != '\t' || b == 0x7f {
			return nil, errControl
		}
	}
	return line, nil
}

// requestLine wants method, target and version with one space between them.
func (h *head) requestLine(line []byte) error {
	method, rest, _ := bytes.Cut(line, []byte{' '})
	target, version, ok := bytes.Cut(rest, []byte{' '})
	if !ok || !token(method) || len(target) == 0 || bytes.ContainsAny(target, "\t#") {
		return errRequestLine
	}
	switch string(version) {
	case "HTTP/1.1":
	case "HTTP/1.0":
		h.old = true
	default:
		return errRequestLine
	}
	h.post = string(method) == "POST"
	h.upgrade = string(method) == "CONNECT"
	return nil
}

func (h *head) field(line []byte) error {
	name, value, err := cutField(line)
	if err != nil {
		return err
	}
	switch len(name) {
	case len("Host"):
		if fold(name, "host") {
			if h.host {
				return errTwoHosts
			}
			h.host = true
		}
	case len("Upgrade"): // and len("Trailer")
		h.upgrade = h.upgrade || fold(name, "upgrade")
		if fold(name, "trailer") {
			return trailerNames(value)
		}
	case len("Content-Length"):
		if fold(name, "content-length") {
			return h.contentLength(value)
		}
		if fold(name, "content_length") {
			return errFramingField
		}
	case len("Transfer-Encoding"):
		if fold(name, "transfer-encoding") {
			if h.declared || !fold(value, "chunked") {
				return errCoding
			}
			h.declared, h.chunked = true, true
		}
		if fold(name, "transfer_encoding") {
			return errFramingField
		}
	}
	return nil
}

// contentLength takes digits only, and so few that no sum overflows.
func (h *head) contentLength(value []byte) error {
	if h.sized {
		return errTwoLengths
	}
	if len(value) == 0 || len(value) > 18 {
		return errLength
	}
	for _, b := range value {
		if b < '0' || b > '9' {
			return errLength
		}
		h.length = h.length*10 + uint64(b-'0')
	}
	h.sized = true
	return nil
}

func (h *head) end() error {
	switch {
	case !h.host && !h.old:
		return errNoHost // CONNECT too: RFC 9112, section 3.2
	case h.declared && h.old:
		return errCodingOld
	case h.declared && h.sized:
		return errLengthCoding
	}
	return nil
}

// cutField returns the name of a field and its value without white space around it.
func cutField(line []byte) (name, value []byte, err error) {
	if line[0] == ' ' || line[0] == '\t' {
		return nil, nil, errFold
	}
	name, value, ok := bytes.Cut(line, []byte{':'})
	if !ok || !token(name) {
		return nil, nil, errFieldName
	}
	return name, bytes.Trim(value, " \t"), nil
}

// trailerNames wants names in the list of what comes behind the body: the transport
// to an upstream refuses others, which then looks as if the upstream was at fault.
func trailerNames(list []byte) error {
	for name := range bytes.SplitSeq(list, []byte{','}) {
		if name = bytes.Trim(name, " \t"); len(name) > 0 && !token(name) {
			return errTrailerName
		}
	}
	return nil
}

// trailerField refuses what must not come behind a body (RFC 9110, section 6.5.1)
// because it would have changed how the body is read.
func trailerField(line []byte) error {
	name, _, err := cutField(line)
	if err != nil {
		return err
	}
	for _, framing := range [...]string{"content-length", "content_length", "transfer-encoding", "transfer_encoding", "host", "trailer"} {
		if fold(name, framing) {
			return errTrailerFraming
		}
	}
	return nil
}

// chunkSize takes up to 15 hexadecimal digits, which cannot overflow, and nothing
// between them and the extension, which is ignored.
func chunkSize(line []byte) (size uint64, err error) {
	digits, _, _ := bytes.Cut(line, []byte{';'})
	if len(digits) == 0 || len(digits) > 15 {
		return 0, errChunkSize
	}
	for _, b := range digits {
		switch {
		case '0' <= b && b <= '9':
			b -= '0'
		case 'a' <= b|0x20 && b|0x20 <= 'f':
			b = b | 0x20 - 'a' + 10
		default:
			return 0, errChunkSize
		}
		size = size<<4 | uint64(b)
	}
	return size, nil
}

// fold reports whether b is lower, which is in lower case, in any case.
func fold(b []byte, lower string) bool {
	if len(b) != len(lower) {
		return false
	}
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

// token reports whether b is a token (RFC 9110, section 5.6.2).
func token(b []byte) bool {
	for _, c := range b {
		if c >= 0x80 || tokens[c>>6]&(1<<(c&63)) == 0 {
			return false
		}
	}
	return len(b) > 0
}

// tokens holds a bit for every character of a token.
var tokens = [2]uint64{
	0x03ff_6cfa_0000_0000, // ! # $ % & ' * + - . 0-9
	0x57ff_ffff_c7ff_fffe, // A-Z ^ _ ` a-z | ~
}
