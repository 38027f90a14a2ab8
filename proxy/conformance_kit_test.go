package proxy

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"strangler/capability"
	"strangler/proxy/edge"
	"strangler/proxy/pool"
)

// front is what a client speaks to the proxy.
type front struct {
	name  string
	tls   bool
	major int
}

// back is what the proxy speaks to the upstream.
type back struct {
	name     string
	protocol capability.Protocol
	tls      bool
	major    int
}

// pairing is one cell of the conformance suite.
type pairing struct {
	front  front
	back   back
	newLeg pool.NewLeg
}

var (
	fronts = []front{{"h1", false, 1}, {"h2c", false, 2}, {"h2", true, 2}}
	backs  = []back{{"http1", capability.ProtocolHTTP1, false, 1}, {"h2c", capability.ProtocolH2C, false, 2}, {"h2", capability.ProtocolHTTP2, true, 2}}
	// kindsOfLeg all have to pass the whole suite.
	kindsOfLeg = []struct {
		name string
		make pool.NewLeg
	}{{"standard", pool.Standard}}
)

// conform runs a behaviour in every cell.
func conform(t *testing.T, behaviour func(t *testing.T, c pairing)) {
	t.Helper()
	conformWhere(t, func(pairing) bool { return true }, behaviour)
}

// conformWhere runs a behaviour in the cells in which there is such a thing.
func conformWhere(t *testing.T, applies func(pairing) bool, behaviour func(t *testing.T, c pairing)) {
	t.Helper()
	for _, kind := range kindsOfLeg {
		for _, f := range fronts {
			for _, b := range backs {
				c := pairing{f, b, kind.make}
				if applies(c) {
					t.Run(kind.name+"/"+f.name+" to "+b.name, func(t *testing.T) { behaviour(t, c) })
				}
			}
		}
	}
}

func fromHTTP1(c pairing) bool { return c.front.major == 1 }
func toHTTP1(c pairing) bool   { return c.back.major == 1 }

// rig is a proxy behind an edge, in front of one upstream that is both sides.
type rig struct {
	*Proxy
	pairing
	t        *testing.T
	address  string // host:port of the edge
	url      string
	client   *http.Client
	upstream *httptest.Server
	log      *syncBuffer
	doc      capability.Document
	limits   edge.Limits // for open
	// left hears of every request whose client went away, as net/http finds out.
	left chan struct{}
}

// start serves a handler of the upstream through the proxy. At the end of the test
// nothing may be in flight any more.
func (c pairing) start(t *testing.T, h http.HandlerFunc, adjust ...func(*Options, *capability.Document)) *rig {
	t.Helper()
	watched(t)
	up := c.back.serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor != c.back.major {
			t.Errorf("the upstream is spoken to by %s", r.Proto)
		}
		h(w, r)
	}))
	return c.before(t, up, up.URL, adjust...)
}

// serve starts a server that speaks one protocol only.
func (b back) serve(t *testing.T, h http.Handler, adjust ...func(*http.Server)) *httptest.Server {
	t.Helper()
	up := httptest.NewUnstartedServer(h)
	up.Config.Protocols = new(http.Protocols)
	up.Config.Protocols.SetHTTP1(b.protocol == capability.ProtocolHTTP1)
	up.Config.Protocols.SetUnencryptedHTTP2(b.protocol == capability.ProtocolH2C)
	up.Config.Protocols.SetHTTP2(b.protocol == capability.ProtocolHTTP2)
	up.Config.ErrorLog = quiet(quietLog())
	up.Config.MaxHeaderBytes = 256 << 10
	up.Config.DisableGeneralOptionsHandler = true
	for _, f := range adjust {
		f(up.Config)
	}
	if b.tls {
		up.EnableHTTP2 = true
		up.StartTLS()
	} else {
		up.Start()
	}
	t.Cleanup(up.Close)
	return up
}

// before puts a proxy in front of an address. up is nil where no http.Server is
// there, which is then plain HTTP/1.
func (c pairing) before(t *testing.T, up *httptest.Server, address string, adjust ...func(*Options, *capability.Document)) *rig {
	t.Helper()
	watched(t)
	r := &rig{pairing: c, t: t, upstream: up, log: &syncBuffer{}, left: make(chan struct{}, 64)}
	certificate := testCertificate(t)
	u := capability.Upstream{Endpoints: []string{address}, Protocol: c.back.protocol}
	if c.back.tls {
		u.TLS.CA = certificate.files.Certificate
	}
	options := Options{ID: "p1", Legacy: u, NewLeg: c.newLeg, Log: slog.New(slog.NewJSONHandler(r.log, nil))}
	r.doc = ordersDocument(address)
	r.doc.Extracted = u
	r.doc.Resilience.Timeout = 20 * time.Second
	for _, f := range adjust {
		f(&options, &r.doc)
	}
	p, err := New(options)
	if err != nil {
		t.Fatal(err)
	}
	r.Proxy = p
	background(t, p.Run)
	r.set(state(1, capability.Legacy, 0))
	r.open(certificate)
	t.Cleanup(r.settled)
	return r
}

// background runs f until the test ends.
func background(t *testing.T, f func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func (r *rig) set(e capability.Effective) {
	r.t.Helper()
	if problems := r.Update([]capability.Document{r.doc}, map[string]capability.Effective{"orders": e}); len(problems) > 0 {
		r.t.Fatal(problems)
	}
}

// open starts the edge and makes the client.
func (r *rig) open(certificate certificateOfTests) {
	r.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		r.t.Fatal(err)
	}
	options := edge.Options{Listeners: []net.Listener{l}, HTTP2: r.front.major == 2, Log: quietLog(), Limits: r.limits, Drain: edge.Drain{Grace: 5 * time.Second},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, in *http.Request) {
			if in.ProtoMajor != r.front.major {
				r.t.Errorf("the client speaks %s", in.Proto)
			}
			stop := context.AfterFunc(in.Context(), func() {
				select {
				case r.left <- struct{}{}:
				default:
				}
			})
			defer stop()
			r.ServeHTTP(w, in)
		})}
	r.address, r.url = l.Addr().String(), "http://"+l.Addr().String()
	if r.front.tls {
		r.url = "https://" + r.address
		options.TLS = &edge.TLS{Certificates: []edge.CertificateFiles{certificate.files}}
	}
	server, err := edge.New(options)
	if err != nil {
		r.t.Fatal(err)
	}
	background(r.t, server.Run)
	transport := &http.Transport{Protocols: new(http.Protocols), DisableCompression: true, ExpectContinueTimeout: time.Minute,
		TLSClientConfig: &tls.Config{RootCAs: certificate.roots, MinVersion: tls.VersionTLS12}}
	transport.Protocols.SetHTTP1(r.front.major == 1)
	transport.Protocols.SetHTTP2(r.front.major == 2 && r.front.tls)
	transport.Protocols.SetUnencryptedHTTP2(r.front.major == 2 && !r.front.tls)
	r.client = &http.Client{Transport: transport, Timeout: longest, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	r.t.Cleanup(transport.CloseIdleConnections)
}

// settled is what every exchange must leave behind: nothing.
func (r *rig) settled() {
	r.t.Helper()
	eventually(r.t, "nothing is in flight any more", func() bool {
		if s, _ := r.serving("orders"); s.Writes != 0 {
			return false
		}
		for _, b := range r.Breakers() {
			if b.InFlight != 0 || b.Queued != 0 {
				return false
			}
		}
		for _, e := range r.Endpoints() {
			if e.InFlight != 0 {
				return false
			}
		}
		return true
	})
}

// request is one to the proxy, with header names and values in turn.
func (r *rig) request(method, path string, body io.Reader, header ...string) *http.Request {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), method, r.url+path, bounded(r.t, method+" "+path, body))
	if err != nil {
		r.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	return req
}

// send reads the whole answer.
func (r *rig) send(req *http.Request) (answer, *http.Response) {
	r.t.Helper()
	res, err := r.client.Do(req)
	return answered(req, res, err), res
}

// get fails the test unless the answer is a whole one with that status.
func (r *rig) get(method, path string, status int, body io.Reader, header ...string) (answer, *http.Response) {
	r.t.Helper()
	a, res := r.send(r.request(method, path, body, header...))
	if a.err != nil || a.status != status {
		r.t.Fatalf("%s %s: %d %v %s, want %d\n%s", method, path, a.status, a.err, a.body, status, r.log)
	}
	return a, res
}

type certificateOfTests struct {
	files edge.CertificateFiles
	roots *x509.CertPool
}

// testCertificate writes down the certificate that httptest has for 127.0.0.1.
func testCertificate(t *testing.T) certificateOfTests {
	t.Helper()
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.StartTLS()
	defer s.Close()
	key, err := x509.MarshalPKCS8PrivateKey(s.TLS.Certificates[0].PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	c := certificateOfTests{files: edge.CertificateFiles{Certificate: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}, roots: x509.NewCertPool()}
	c.roots.AddCert(s.Certificate())
	for name, block := range map[string]*pem.Block{
		c.files.Certificate: {Type: "CERTIFICATE", Bytes: s.Certificate().Raw},
		c.files.Key:         {Type: "PRIVATE KEY", Bytes: key},
	} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return c
}
