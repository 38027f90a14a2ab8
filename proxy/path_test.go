package proxy

import (
	"errors"
	"net/url"
	pathpkg "path"
	"strings"
	"testing"
)

func TestNormalise(t *testing.T) {
	for _, c := range []struct {
		in, path, raw string
		err           error
	}{
		{"/", "/", "/", nil},
		{"/api/orders/1", "/api/orders/1", "/api/orders/1", nil},
		{"//api///orders//", "/api/orders/", "/api/orders/", nil},
		{"/%61pi/%7Eme", "/api/~me", "/api/~me", nil},
		{"/a%20b/c%2bd", "/a b/c+d", "/a%20b/c%2Bd", nil},
		{"/a%3bb", "/a;b", "/a%3Bb", nil},
		{"/a;v=1/b", "/a;v=1/b", "/a;v=1/b", nil},
		{"/[x]", "/[x]", "/[x]", nil},
		{"/caf\xc3\xa9", "/café", "/caf%C3%A9", nil},
		{"/100%25", "/100%", "/100%25", nil},
		{"/.well-known/x", "/.well-known/x", "/.well-known/x", nil},
		{"/a/...", "/a/...", "/a/...", nil},
		{"", "", "", errPathForm},
		{"*", "", "", errPathForm},
		{"api", "", "", errPathForm},
		{"/a%2fb", "", "", errPathSeparator},
		{"/a%2Fb", "", "", errPathSeparator},
		{"/a%5cb", "", "", errPathSeparator},
		{`/a\b`, "", "", errPathSeparator},
		{"/a%00b", "", "", errPathSeparator},
		{"/a\x00b", "", "", errPathSeparator},
		{"/a/../b", "", "", errPathDots},
		{"/a/./b", "", "", errPathDots},
		{"/a/..", "", "", errPathDots},
		{"/a/%2e%2e/b", "", "", errPathDots},
		{"/a/.%2E/b", "", "", errPathDots},
		{"/a/%252e%252e/b", "", "", errPathDots},
		{"/a/%25252e./b", "", "", errPathDots},
		{"/a/..%252fadmin", "", "", errPathDots},
		{"/a/..%255cadmin", "", "", errPathDots},
		{"/a/..;x=1/b", "", "", errPathDots},
		{"/a/..%3b/b", "", "", errPathDots},
		{"/a%zz", "", "", errPathEscape},
		{"/a%2", "", "", errPathEscape},
	} {
		path, raw, err := normalise(c.in)
		if path != c.path || raw != c.raw || !errors.Is(err, c.err) {
			t.Errorf("normalise(%q) = %q, %q, %v; want %q, %q, %v", c.in, path, raw, err, c.path, c.raw, c.err)
		}
	}
}

func FuzzNormalise(f *testing.F) {
	for _, seed := range []string{"/", "/a//b/", "/a/%2e%2e/b", "/a/..;/b", "/%25%32%65/", "/caf%c3%a9", "/a%2fb", "/a b", "/[;]", "/.%00", "/%2525252e"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		path, raw, err := normalise(in)
		if err != nil {
			return
		}
		again, rawAgain, err := normalise(raw)
		if err != nil || again != path || rawAgain != raw {
			t.Fatalf("%q became %q, which becomes %q (%v)", in, raw, rawAgain, err)
		}
		if wire := (&url.URL{Path: path, RawPath: raw}).EscapedPath(); wire != raw {
			t.Fatalf("%q would be forwarded as %q, not %q", in, wire, raw)
		}
		if clean := pathpkg.Clean(path); clean != path && clean+"/" != path {
			t.Fatalf("%q: %q is not clean", in, path)
		}
		for decoded := path; ; {
			for _, part := range strings.Split(strings.ReplaceAll(decoded, `\`, "/"), "/") {
				if part == "." || part == ".." || strings.HasPrefix(part, ".;") || strings.HasPrefix(part, "..;") {
					t.Fatalf("%q: an upstream that decodes again sees %q", in, decoded)
				}
			}
			next := decodeLoosely(decoded)
			if next == decoded {
				return
			}
			decoded = next
		}
	})
}
