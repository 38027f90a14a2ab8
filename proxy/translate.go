package proxy

import (
	"net/http"
	"net/url"
	"strings"

	"strangler/capability"
	"strangler/proxy/match"
)

// translation goes between the public paths and names and one side's own. The
// zero value changes nothing.
type translation struct {
	prefix string // in the form that goes over the wire, without a slash at the end
	to     string
	host   string
	domain string
}

func newTranslation(r capability.Rewrite) translation {
	out := translation{host: r.Host, domain: r.CookieDomain}
	if r.Prefix != "" {
		out.prefix, out.to = wirePath(r.Prefix), wirePath(r.To)
	}
	return out
}

// wirePath is the normal form of a path that a person wrote.
func wirePath(path string) string {
	form, err := match.Normalise((&url.URL{Path: path}).EscapedPath())
	if err != nil {
		return strings.TrimSuffix(path, "/") // checked where documents are read
	}
	return strings.TrimSuffix(form.Raw, "/")
}

// path returns what the side has in place of a public path in wire form.
func (r translation) path(raw string) string { return swapPrefix(raw, r.prefix, r.to) }

// public is the way back.
func (r translation) public(raw string) string { return swapPrefix(raw, r.to, r.prefix) }

// swapPrefix exchanges leading whole segments.
func swapPrefix(path, from, to string) string {
	rest, ok := strings.CutPrefix(path, from)
	if from == to || !ok || rest != "" && rest[0] != '/' {
		return path
	}
	if rest == "" && to == "" {
		return "/"
	}
	return to + rest
}

// origin is how the client reached the proxy.
type origin struct{ scheme, host string }

// base is the path of a request as its client asked for it and as its side got it:
// what relative references in the answer stand on.
type base struct{ public, own string }

// answer translates the headers in which a side names its own addresses.
func (r translation) answer(h http.Header, endpoint *url.URL, client origin, asked base) {
	if r == (translation{}) {
		return
	}
	for _, name := range []string{"Location", "Content-Location"} {
		for i, v := range h[name] {
			h[name][i] = r.location(v, endpoint, client, asked)
		}
	}
	for i, v := range h["Set-Cookie"] {
		h["Set-Cookie"][i] = r.cookie(v, endpoint)
	}
}

// location gives a reference to the side itself its public form. References to
// others stay as they are, and so do those that lead the client to the same place.
func (r translation) location(text string, endpoint *url.URL, client origin, asked base) string {
	u, err := url.Parse(text)
	if err != nil || u.Opaque != "" || u.Host != "" && !r.own(u.Host, endpoint) {
		return text
	}
	path := u.EscapedPath()
	if u.Host == "" {
		if path == "" {
			return text // the path that was asked for, which the client knows better
		}
		own := resolve(asked.own, path)
		public := r.public(own)
		if public == own || public == resolve(asked.public, path) {
			return text
		}
		path = public
	} else {
		if u.Scheme != "" {
			u.Scheme = client.scheme
		}
		u.Host = client.host
		if path != "" {
			path = r.public(resolve(asked.own, path))
		}
	}
	u.RawPath = path
	if u.Path, err = url.PathUnescape(path); err != nil {
		return text
	}
	return u.String()
}

// resolve returns the path to which a reference's leads that was found at the path
// base (RFC 3986, 5.2.2). All are in the form that goes over the wire.
func resolve(base, reference string) string {
	if strings.HasPrefix(reference, "/") && !strings.Contains(reference, "/.") {
		return reference
	}
	var from, to url.URL
	setWirePath(&from, base)
	setWirePath(&to, reference)
	return from.ResolveReference(&to).EscapedPath()
}

// own reports whether a host is one by which the side knows itself.
func (r translation) own(host string, endpoint *url.URL) bool {
	return strings.EqualFold(host, endpoint.Host) || r.host != "" && strings.EqualFold(host, r.host)
}

// cookie translates Path and Domain of one Set-Cookie, and leaves the rest of it
// to the letter. A domain of the side's own that nobody said how to replace is
// taken out: the cookie is then the public host's alone.
func (r translation) cookie(line string, endpoint *url.URL) string {
	parts := strings.Split(line, ";")
	kept := parts[:1]
	for _, part := range parts[1:] {
		name, value, _ := strings.Cut(part, "=")
		value = strings.TrimSpace(value)
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "path":
			part = " Path=" + r.public(value)
		case "domain":
			bare := strings.TrimPrefix(value, ".")
			switch {
			case r.domain != "":
				part = " Domain=" + r.domain
			case strings.EqualFold(bare, endpoint.Hostname()) || strings.EqualFold(bare, hostname(r.host)):
				continue
			}
		}
		kept = append(kept, part)
	}
	return strings.Join(kept, ";")
}

// hostname is a host without its port.
func hostname(host string) string { return (&url.URL{Host: host}).Hostname() }

// setWirePath makes a URL that goes over the wire with exactly this path, which is
// in normal form.
func setWirePath(u *url.URL, raw string) {
	u.Path, u.RawPath = raw, raw
	if strings.IndexByte(raw, '%') >= 0 {
		// A normal form always decodes.
		u.Path, _ = url.PathUnescape(raw)
	}
}
