package api

import (
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"github.com/gorilla/mux"
)

// Protect refuses what a browser was made to send by another site. Some of it says
// so. The rest is of a site that has had its own name pointed here (DNS rebinding),
// and is then its own site to the browser: it is known by that name. So the host of a
// request must be an IP address, localhost, or one of the names, which are without a
// port. Health is told under any name. The router decides about everything else.
func Protect(router *mux.Router, log *slog.Logger, names ...string) http.Handler {
	p := &protection{next: http.NewCrossOriginProtection().Handler(router), log: log, names: []string{"localhost"}}
	for _, name := range names {
		if name != "" {
			p.names = append(p.names, plainName(name))
		}
	}
	return p
}

type protection struct {
	next  http.Handler
	names []string
	log   *slog.Logger

	mu   sync.Mutex
	last string // host that was refused; guarded by mu
}

func (p *protection) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if p.ours(r.Host) || r.URL.Path == "/healthz" || r.URL.Path == "/readyz" {
		p.next.ServeHTTP(w, r)
		return
	}
	if p.news(r.Host) {
		p.log.Warn("refused a request under another name; see admin_names", slog.String("host", r.Host), slog.String("peer", r.RemoteAddr))
	}
	problem(w, http.StatusForbidden, Problem{Error: fmt.Sprintf("%q is no name of this admin address", r.Host),
		Mend: "ask it by its IP address, or write the name into admin_names of its config.yaml"})
}

// ours reports whether a Host header is one of somebody who means this process. No
// browser leaves it out.
func (p *protection) ours(host string) bool {
	if host == "" {
		return true
	}
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	} else {
		host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	}
	_, err := netip.ParseAddr(host)
	return err == nil || slices.Contains(p.names, plainName(host))
}

// news reports whether the host is another one than that refused before: a program
// that asks again and again is said once.
func (p *protection) news(host string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer func() { p.last = host }()
	return host != p.last
}

// plainName is a name as it is compared.
func plainName(host string) string { return strings.ToLower(strings.TrimSuffix(host, ".")) }
