package match

import (
	"errors"
	"net/url"
	"strings"
	"testing"

	"strangler/capability"
)

func TestNormalise(t *testing.T) {
	for _, c := range []struct {
		in, match, raw string
		err            error
	}{
		{"/", "/", "/", nil},
		{"/api/orders/1", "/api/orders/1", "/api/orders/1", nil},
		{"//api///orders//", "/api/orders/", "/api/orders/", nil},
		{"/%61pi/%7Eme", "/api/~me", "/api/~me", nil},
		{"/a%20b/c%2bd", "/a b/c%2Bd", "/a%20b/c%2Bd", nil},
		{"/a+b", "/a+b", "/a+b", nil},
		{"/a%3bb", "/a%3Bb", "/a%3Bb", nil},
		{"/a;v=1/b", "/a;v=1/b", "/a;v=1/b", nil},
		{"/[x]", "/[x]", "/[x]", nil},
		{"/{x}", "/{x}", "/%7Bx%7D", nil},
		{"/a%3fb%23", "/a?b#", "/a%3Fb%23", nil},
		{"/caf\xc3\xa9", "/café", "/caf%C3%A9", nil},
		{"/%ff\n", "/\xff\n", "/%FF%0A", nil},
		{"/100%25", "/100%25", "/100%25", nil},
		{"/.well-known/x", "/.well-known/x", "/.well-known/x", nil},
		{"/a/%2ehidden/...", "/a/.hidden/...", "/a/.hidden/...", nil},
		{"", "", "", errPathForm},
		{"*", "", "", errPathForm},
		{"api", "", "", errPathForm},
		{"%2Fapi", "", "", errPathForm},
		{"/a%zz", "", "", errPathEscape},
		{"/a%2", "", "", errPathEscape},
		{"/%u002f", "", "", errPathEscape},
	} {
		p, err := Normalise(c.in)
		if p.Match != c.match || p.Raw != c.raw || !errors.Is(err, c.err) || p.Odd != 0 {
			t.Errorf("Normalise(%q) = %+v, %v; want %q, %q, %v", c.in, p, err, c.match, c.raw, c.err)
		}
	}
}

func TestNormaliseOdd(t *testing.T) {
	const s, b, z, d = encodedSlash, encodedBackslash, encodedZero, dotSegments
	for _, c := range []struct {
		in, match string // Raw is the same
		odd       Odd
	}{
		{"/a%2fb", "/a%2Fb", s},
		{"/a/%2F/b", "/a/%2F/b", s},
		{"/a%252fb", "/a%252fb", s},
		{"/a%25252Fb", "/a%25252Fb", s},
		{"/a%25%32%66b", "/a%252fb", s},
		{"/a%c0%afb", "/a\xc0\xafb", s},
		{"/a%e0%80%afb", "/a\xe0\x80\xafb", s},
		{"/a%5cb", "/a%5Cb", b},
		{`/a\b`, "/a%5Cb", b},
		{"/a%255cb", "/a%255cb", b},
		{"/a%c1%9cb", "/a\xc1\x9cb", b},
		{"/a%00b", "/a%00b", z},
		{"/a\x00b", "/a%00b", z},
		{"/a%2500b", "/a%2500b", z},
		{"/a%c0%80b", "/a\xc0\x80b", z},
		{"/a/../b", "/a/../b", d},
		{"/a/./b", "/a/./b", d},
		{"/a/..", "/a/..", d},
		{"/a//../b", "/a/../b", d},
		{"/a/%2e%2e/b", "/a/%2E%2E/b", d},
		{"/a/.%2E/b", "/a/.%2E/b", d},
		{"/a/%252e%252e/b", "/a/%252e%252e/b", d},
		{"/a/%25252e./b", "/a/%25252e./b", d},
		{"/a/%c0%ae./b", "/a/\xc0\xae./b", d},
		{"/a/..;x=1/b", "/a/..;x=1/b", d},
		{"/a/..%3b/b", "/a/..%3B/b", d},
		{"/a/..%3fq/b", "/a/..?q/b", d},
		{"/a/..%2fadmin", "/a/..%2Fadmin", s | d},
		{"/a/..%252fadmin", "/a/..%252fadmin", s | d},
		{"/a/..%255cadmin", "/a/..%255cadmin", b | d},
		{"/a/..%00/b", "/a/..%00/b", z | d},
		{"/%2e%2e%2f%5c%00", "/%2E%2E%2F%5C%00", s | b | z | d},
		// Lax decoders: more bytes than needed, and continuations that are none.
		{"/a/%f0%80%80%ae%f0%80%80%ae/b", "/a/\xf0\x80\x80\xae\xf0\x80\x80\xae/b", d},
		{"/a%f0%80%80%afb", "/a\xf0\x80\x80\xafb", s},
		{"/a%f8%80%80%80%afb", "/a\xf8\x80\x80\x80\xafb", s},
		{"/a%fc%80%80%80%81%9cb", "/a\xfc\x80\x80\x80\x81\x9cb", b},
		{"/a%fe%80%80%80%80%80%80b", "/a\xfe\x80\x80\x80\x80\x80\x80b", z},
		{"/a/%c0%2e%c0%2e/b", "/a/\xc0%2E\xc0%2E/b", d},
		{"/a/%c0../b", "/a/\xc0../b", d},
		{"/a/%e0%40%ae./b", "/a/\xe0%40\xae./b", d},
		{"/a%c1%1cb", "/a\xc1\x1cb", b},
		{"/a%25f0%2580%2580%25afb", "/a%25f0%2580%2580%25afb", s},
		{"/caf%c0/b", "/caf\xc0/b", 0},
		{"/%e0%a0%80%f0%90%80%80%ef%bf%bf", "/\u0800\U00010000\uffff", 0},
		{"/%c1/../b", "/\xc1/../b", d},
		{"/%c1%2f../b", "/\xc1%2F../b", s | d},
		{"/%e0%00../b", "/\xe0%00../b", z | d},
		// Servers that trim names.
		{"/a/..%20/b", "/a/.. /b", d},
		{"/a/%20..", "/a/ ..", d},
		{"/a/%09../b", "/a/\t../b", d},
		{"/a/.%20./b", "/a/. ./b", d},
		{"/a/..%0a/b", "/a/..\n/b", d},
		{"/a/..%2520/b", "/a/..%2520/b", d},
		{"/a/..%20.;x/b", "/a/.. .;x/b", d},
		{"/a/...%20/b", "/a/... /b", d},
		{"/a/%20/b..%20/.x%20", "/a/ /b.. /.x ", 0},
		{"/a%25", "/a%25", 0},
		{"/a%252", "/a%252", 0},
		{"/a%2520b", "/a%2520b", 0},
		{"/a/..b/c..", "/a/..b/c..", 0},
		{"/%c3%80%c2%af", "/\u00c0\u00af", 0},
	} {
		p, err := Normalise(c.in)
		if err != nil || p.Match != c.match || p.Odd != c.odd {
			t.Errorf("Normalise(%q) = %q (%v), %v; want %q (%v)", c.in, p.Match, p.Odd, err, c.match, c.odd)
		}
		again, err := Normalise(p.Raw)
		if err != nil || again != p {
			t.Errorf("%q became %+v, and that %+v, %v", c.in, p, again, err)
		}
	}
}

func TestOdd(t *testing.T) {
	all := OddOf(capability.Oddities)
	if got, want := all.String(), "an encoded slash, a backslash, a zero byte, a dot segment"; got != want {
		t.Errorf("all are %q, want %q", got, want)
	}
	for i, name := range capability.Oddities {
		one := OddOf([]capability.Oddity{"unknown", name})
		if names := one.Names(); len(names) != 1 || names[0] != name || all.Names()[i] != name {
			t.Errorf("%s alone has the names %v", name, names)
		}
		rest := all.Without(one)
		if !one.Within(all) || all.Within(rest) || one.Within(rest) || !one.Within(one) || !Odd(0).Within(0) {
			t.Errorf("%s: %v of %v", name, one, all)
		}
	}
}

// TestOddDepth holds a path that is encoded thousands of times to one pass.
func TestOddDepth(t *testing.T) {
	deep := "/" + strings.Repeat("%"+strings.Repeat("25", 10_000)+"2e", 2) + "/x"
	p, err := Normalise(deep)
	if err != nil || p.Odd != dotSegments || p.Match != deep {
		t.Fatalf("%v, %v", p.Odd, err)
	}
}

func TestNormaliseAllocatesNothing(t *testing.T) {
	for _, path := range []string{"/", "/api/orders/17", "/a;v=1/b+c@d/[e]", "/trailing/"} {
		if n := testing.AllocsPerRun(100, func() { _, _ = Normalise(path) }); n != 0 {
			t.Errorf("%q: %v allocations", path, n)
		}
	}
}

func FuzzNormalise(f *testing.F) {
	for _, seed := range []string{"/", "/a//b/", "/a/%2e%2e/b", "/a/..;/b", "/%25%32%65/", "/caf%c3%a9", "/a%2fb", "/a b", "/[;]", "/.%00",
		"/%2525252e", "/%c0%ae%c0%ae/", "/%%32e", "/a%5c..", "/%e0%80%ae", "/%25c0%25af", "/%2b+%3B;", "/a/.%2e%2fb%2e",
		"/%f0%80%80%ae./", "/%25fc%2580%2580%2580%2580%25af", "/%c0%2e%c1%1c", "/..%20/%09.", "/a/. ./", "/%c1/../x", "/%e0%40/..%c1;/"} {
		f.Add(seed, strings.ToUpper(seed))
	}
	f.Fuzz(func(t *testing.T, in, other string) {
		p, err := Normalise(in)
		if err != nil {
			return
		}
		if again, err := Normalise(p.Raw); err != nil || again != p {
			t.Fatalf("%q became %+v, which becomes %+v (%v)", in, p, again, err)
		}
		if wire := (&url.URL{Path: p.Decoded(), RawPath: p.Raw}).EscapedPath(); wire != p.Raw {
			t.Fatalf("%q would be forwarded as %q, not %q", in, wire, p.Raw)
		}
		if raw := rawOf(t, p.Match); raw != p.Raw {
			t.Fatalf("%q: matched as %q, forwarded as %q, not %q", in, p.Match, p.Raw, raw)
		}
		if strings.Contains(p.Match, "//") || strings.Count(p.Match, "/") != strings.Count(p.Raw, "/") {
			t.Fatalf("%q: segments of %+v", in, p)
		}
		if q, err := Normalise(other); err == nil && (q.Match == p.Match) != (q.Raw == p.Raw) {
			t.Fatalf("%q and %q: %+v and %+v", in, other, p, q)
		}
		checkDecodings(t, p)
	})
}

// rawOf encodes what is matched without looking at what is forwarded.
func rawOf(t *testing.T, match string) string {
	var b strings.Builder
	for i := 0; i < len(match); i++ {
		switch c := match[i]; {
		case c == '%':
			if !isEscape(match[i:]) {
				t.Fatalf("%q has a percent sign that begins no escape", match)
			}
			b.WriteString(match[i : i+3])
			i += 2
		case bare[c]:
			b.WriteByte(c)
		default:
			b.WriteString("%" + strings.ToUpper(string("0123456789abcdef"[c>>4])+string("0123456789abcdef"[c&15])))
		}
	}
	return b.String()
}

// checkDecodings looks at what upstreams see that decode once, twice and more
// often.
func checkDecodings(t *testing.T, p Path) {
	slashes := strings.Count(p.Raw, "/")
	for seen := p.Raw; ; {
		next, err := url.PathUnescape(seen)
		if err != nil || next == seen {
			return
		}
		seen = next
		want := Odd(0)
		if strings.Count(seen, "/") > slashes {
			want |= encodedSlash
		}
		if strings.Contains(seen, `\`) {
			want |= encodedBackslash
		}
		if strings.Contains(seen, "\x00") {
			want |= encodedZero
		}
		for _, part := range strings.Split(strings.ReplaceAll(seen, `\`, "/"), "/") {
			trimmed := strings.Trim(part, " \t\r\n")
			if trimmed == "." || trimmed == ".." || strings.HasPrefix(part, ".;") || strings.HasPrefix(part, "..;") {
				want |= dotSegments
			}
		}
		if !want.Within(p.Odd) {
			t.Fatalf("%q: an upstream that decodes again sees %q, with %v, not only %v", p.Raw, seen, want, p.Odd)
		}
	}
}

func BenchmarkNormalise(b *testing.B) {
	for name, path := range map[string]string{
		"plain":   "/api/orders/4711/lines/3",
		"escaped": "/api/orders/caf%C3%A9%20au%20lait",
		"odd":     "/files/a%2Fb/..%2Fc",
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Normalise(path); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
