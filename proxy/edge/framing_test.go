package edge

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// reference is a second reading of RFC 9112, as strict as framing and made of other
// means: it wants all bytes at once and matches whole heads. It returns where each
// complete request ends.
func reference(b []byte) (ends []int) {
	at, post := 0, false
	for {
		n, isPost := referenceOne(b[at:])
		if n == 0 && post && bytes.HasPrefix(b[at:], []byte("\r\n")) {
			if n, isPost = referenceOne(b[at+2:]); n > 0 {
				n += 2
			}
		}
		if n == 0 {
			return ends
		}
		at, post = at+n, isPost
		ends = append(ends, at)
	}
}

const (
	tokenClass = "[!#$%&'*+\\-.^_`|~0-9A-Za-z]+"
	fieldLine  = tokenClass + `:[^\x00-\x08\x0a-\x1f\x7f]*\r\n`
)

var (
	headShape    = regexp.MustCompile(`\A(` + tokenClass + `) [^\x00-\x20\x7f#]+ HTTP/1\.([01])\r\n((?:` + fieldLine + `)*)\r\n`)
	chunkShape   = regexp.MustCompile(`\A([0-9A-Fa-f]{1,15})(?:;[^\x00-\x08\x0a-\x1f\x7f]*)?\r\n`)
	trailerShape = regexp.MustCompile(`\A((?:` + fieldLine + `)*)\r\n`)
	listShape    = regexp.MustCompile(`\A[ \t]*(?:` + tokenClass + `)?[ \t]*(?:,[ \t]*(?:` + tokenClass + `)?[ \t]*)*\z`)
	lengthShape  = regexp.MustCompile(`\A[0-9]{1,18}\z`)
)

// referenceOne returns the length of the request at the beginning of b; 0: there is
// none, or not all of it.
func referenceOne(b []byte) (n int, post bool) {
	m := headShape.FindSubmatch(b)
	if m == nil {
		return 0, false
	}
	fields := map[string][]string{}
	for line := range strings.SplitSeq(string(m[3]), "\r\n") {
		name, value, _ := strings.Cut(line, ":")
		name = strings.ToLower(name)
		fields[name] = append(fields[name], strings.Trim(value, " \t"))
	}
	old, hosts, lengths, codings := string(m[2]) == "0", len(fields["host"]), fields["content-length"], fields["transfer-encoding"]
	switch {
	case hosts > 1, hosts == 0 && !old, fields["content_length"] != nil, fields["transfer_encoding"] != nil,
		len(lengths) > 1, len(codings) > 1, len(lengths) > 0 && len(codings) > 0, len(codings) > 0 && old:
		return 0, false
	}
	for _, list := range fields["trailer"] {
		if !listShape.MatchString(list) {
			return 0, false
		}
	}
	n, post = len(m[0]), string(m[1]) == "POST"
	switch {
	case len(lengths) == 1:
		if !lengthShape.MatchString(lengths[0]) {
			return 0, false
		}
		length, _ := strconv.ParseInt(lengths[0], 10, 64)
		if length > int64(len(b)-n) {
			return 0, false
		}
		return n + int(length), post
	case len(codings) == 1:
		if strings.ToLower(codings[0]) != "chunked" {
			return 0, false
		}
		body := referenceChunks(b[n:])
		if body == 0 {
			return 0, false
		}
		return n + body, post
	}
	return n, post
}

func referenceChunks(b []byte) (n int) {
	for {
		m := chunkShape.FindSubmatch(b[n:])
		if m == nil || len(m[0]) > mostSizeLine {
			return 0
		}
		n += len(m[0])
		size, _ := strconv.ParseInt(string(m[1]), 16, 64)
		if size == 0 {
			break
		}
		if size+2 > int64(len(b)-n) || string(b[n+int(size):n+int(size)+2]) != "\r\n" {
			return 0
		}
		n += int(size) + 2
	}
	m := trailerShape.FindSubmatch(b[n:])
	if m == nil {
		return 0
	}
	total := 0
	for line := range strings.SplitSeq(strings.TrimSuffix(string(m[1]), "\r\n"), "\r\n") {
		name, _, _ := strings.Cut(line, ":")
		if slices.Contains([]string{"content-length", "transfer-encoding", "host", "trailer"}, strings.ReplaceAll(strings.ToLower(name), "_", "-")) {
			return 0
		}
		if total += len(line); total > mostTrailer || len(line)+2 > mostTrailer {
			return 0
		}
	}
	return n + len(m[0])
}

// guarded returns where framing sees requests end when b comes in pieces of that
// size, how far it lets b pass, and why no further.
func guarded(b []byte, piece int) (ends []int, passed int, err error) {
	f := framing{most: 1 << 20}
	for passed < len(b) && err == nil {
		next := b[passed:min(passed+piece, len(b))]
		var n int
		n, err = f.follow(next)
		passed += n
		if len(ends) < f.number {
			ends = append(ends, passed)
		}
		if f.step == stepUndecided {
			f.step = stepRequest
		}
	}
	return ends, passed, err
}

// What the guard lets pass, net/http and the reference read as it does.
func FuzzFraming(f *testing.F) {
	for _, v := range vectors {
		f.Add([]byte(v.raw), 3)
		f.Add([]byte("POST /before HTTP/1.1\r\n"+host+"Content-Length: 1\r\n\r\nb"+v.raw+"GET /x HTTP/1.1\r\n"+host+"\r\n"), 50)
	}
	f.Fuzz(func(t *testing.T, b []byte, piece int) {
		ends, passed, err := guarded(b, 1)
		if want := reference(b); !slices.Equal(ends, want) {
			t.Fatalf("requests end at %v, by the reference at %v (%v)", ends, want, err)
		}
		if piece > 1 {
			f := framing{most: 1 << 20}
			n, far := 0, error(nil)
			for n < len(b) && far == nil {
				var k int
				if k, far = f.follow(b[n:min(n+piece, len(b))]); f.step == stepUndecided {
					f.step = stepRequest
				}
				n += k
			}
			// A bad line is held back as far as the piece goes, so never more passes.
			if (far == nil) != (err == nil) || f.number != len(ends) || n > passed {
				t.Fatalf("in pieces of %d: %d requests, %d bytes, %v; bytewise %d, %d, %v", piece, f.number, n, far, len(ends), passed, err)
			}
		}
		begin, post := 0, false
		for _, end := range ends {
			if n, ok := parsed(t, b[begin:], &post); ok && n != end-begin {
				t.Fatalf("net/http reads %d bytes of a request of %d: %q", n, end-begin, b[begin:end])
			}
			begin = end
		}
	})
}

// parsed returns how many bytes net/http takes for the request at the beginning of
// b; not ok: it refuses it.
func parsed(t *testing.T, b []byte, post *bool) (n int, ok bool) {
	rest := b
	for i := 0; *post && i < 4 && len(rest) > 0 && (rest[0] == '\r' || rest[0] == '\n'); i++ {
		rest = rest[1:] // as its server does
	}
	in := bytes.NewReader(rest)
	r := bufio.NewReader(in)
	req, err := http.ReadRequest(r)
	if *post = err == nil && req.Method == "POST"; err != nil {
		return 0, false
	}
	if _, err := io.Copy(io.Discard, req.Body); err != nil {
		return 0, false
	}
	return len(b) - in.Len() - r.Buffered(), true
}

// Whatever net/http has read of a line when it is refused, the poison makes it
// refuse the request, too.
func FuzzPoison(f *testing.F) {
	for _, v := range vectors {
		for _, cut := range cuts(0, len(v.raw)) {
			f.Add([]byte(v.raw), cut)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte, cut int) {
		if cut < 0 || cut > len(b) {
			cut = len(b)
		}
		f := framing{most: 1 << 20}
		n, err := f.follow(b[:cut])
		if err == nil && f.step != stepUndecided {
			var more int
			more, err = f.follow(b[cut:])
			n += more
		}
		if err == nil {
			return
		}
		seen := slices.Clone(b[:n])
		number := f.number
		r := bufio.NewReader(bytes.NewReader(append(seen, f.poison()...)))
		for i := 0; ; i++ {
			req, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			if _, err := io.Copy(io.Discard, req.Body); err != nil {
				return
			}
			if i >= number {
				t.Fatalf("net/http takes %d requests where the guard refused number %d: %q", i+1, number, seen)
			}
			if b, err := r.Peek(2); req.Method == "POST" && err == nil && string(b) == "\r\n" {
				_, _ = r.Discard(2)
			}
		}
	})
}

func BenchmarkFraming(b *testing.B) {
	small := []byte("GET /api/orders/17?expand=items HTTP/1.1\r\nHost: shop.example.com\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\n" +
		"Accept: application/json\r\nAccept-Encoding: gzip, br\r\nCookie: session=0123456789abcdef\r\nX-Request-Id: 0123456789\r\n\r\n")
	chunks := []byte(chunkedHead + strings.Repeat("1000\r\n"+strings.Repeat("a", 4096)+"\r\n", 16) + "0\r\n\r\n")
	for name, raw := range map[string][]byte{"small": small, "chunked 64 KiB": chunks} {
		b.Run(name, func(b *testing.B) {
			f := framing{most: 64 << 10}
			b.SetBytes(int64(len(raw)))
			b.ReportAllocs()
			for b.Loop() {
				if n, err := f.follow(raw); n != len(raw) || err != nil {
					b.Fatal(n, err)
				}
			}
		})
	}
}
