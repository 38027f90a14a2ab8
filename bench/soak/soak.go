package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"testbed/process"
)

// soak is one run: the strangler, what is behind it, and what is in front.
type soak struct {
	options
	out       io.Writer
	dir       string
	keep      bool // the folder, for a look
	account   *account
	answers   *answers
	servers   map[string][]*server // by capability; the monolith's under its side's name
	failing   *failing
	refusing  *refusing
	breaking  *server // of the matrix; HTTP/2
	proxy     *strangler
	traffic   *traffic
	matrix    *matrix
	changes   *changes
	registry  *registry // of documents and instances; nil: none
	first     reading   // after a tenth of the requests
	last      reading
	took      time.Duration
	closed    bool
	temporary bool
}

const legacy = "legacy"

// open starts everything. What it has started when it fails, it stops again.
func open(ctx context.Context, o options, r *registry, out io.Writer) (_ *soak, err error) {
	s := &soak{options: o, registry: r, out: out, dir: o.dir, servers: map[string][]*server{}}
	defer func() {
		if err != nil {
			s.keep = true
			err = errors.Join(err, s.close())
		}
	}()
	if s.dir == "" {
		s.temporary = true
		if s.dir, err = os.MkdirTemp("", "soak"); err != nil {
			return nil, fmt.Errorf("make a folder: %w", err)
		}
	}
	if err := os.MkdirAll(filepath.Join(s.dir, "routes"), 0o755); err != nil {
		return nil, fmt.Errorf("make a folder: %w", err)
	}
	s.matrix = &matrix{ledger: newLedger()}
	s.account = newAccount(o.requests, s.matrix.now)
	s.matrix.account = s.account
	s.answers = &answers{account: s.account, content: newContent(o.seed), meetings: newMeetings(), ledger: s.matrix.ledger}
	if err := s.startUpstreams(); err != nil {
		return nil, err
	}
	if err := s.startProxy(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *soak) startUpstreams() (err error) {
	start := func(name, side string, count int) error {
		for n := range count {
			one, err := startServer(fmt.Sprintf("%s-%d", name, n+1), side, s.answers.at)
			if err != nil {
				return err
			}
			s.servers[name] = append(s.servers[name], one)
		}
		return nil
	}
	for _, name := range changeable {
		if name == "calls" && !s.h2c {
			continue
		}
		if err := start(name, "extracted", endpointsEach); err != nil {
			return err
		}
	}
	if err := start(legacy, legacy, 2); err != nil {
		return err
	}
	if s.breaking, err = startServer("breaking", "extracted", newBreaking(s.matrix.ledger).at); err != nil {
		return err
	}
	if s.failing, err = startFailing(s.account, s.matrix.ledger); err != nil {
		return err
	}
	s.refusing, err = holdRefusing()
	return err
}

const configText = `listen: %s
admin: %s
legacy: {%s}
routes: routes
state: state
log: {access: false}
%s`

// startProxy writes configuration and documents, starts the strangler, and then lets the refusing capabilities refuse:
// with an endpoint that does not answer, it would not have started.
func (s *soak) startProxy(ctx context.Context) error {
	ports, err := process.FreePorts(2)
	if err != nil {
		return err
	}
	address, admin := fmt.Sprintf("127.0.0.1:%d", ports[0]), fmt.Sprintf("127.0.0.1:%d", ports[1])
	edge, more := []string{"http2: true"}, ""
	var secure *tls.Config
	if s.tls {
		if secure, err = certify(s.dir); err != nil {
			return err
		}
		edge = append(edge, tlsSection)
	}
	var monolith []string
	for _, one := range s.servers[legacy] {
		monolith = append(monolith, one.address)
	}
	where := fmt.Sprintf("endpoints: [%s]", strings.Join(monolith, ", "))
	if s.registry != nil {
		if err := s.registry.register(prefix+"-legacy", s.servers[legacy]); err != nil {
			return err
		}
		where, more = "consul: "+prefix+"-legacy", s.registry.section()
	}
	config := fmt.Sprintf(configText, address, admin, where, fmt.Sprintf("edge: {%s}\n", strings.Join(edge, ", "))+more)
	if err := os.WriteFile(filepath.Join(s.dir, "config.yaml"), []byte(config), 0o644); err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	changing := map[string][]*server{}
	for name, all := range s.servers {
		if name != legacy {
			changing[name] = all
		}
	}
	book := newBook(filepath.Join(s.dir, "routes"), s.registry, changing, s.failing.address, s.breaking.address, s.h2c)
	if err := book.write(); err != nil {
		return err
	}
	if s.proxy, err = startStrangler(ctx, s.strangler, s.dir, address, admin); err != nil {
		return err
	}
	s.traffic = newTraffic(s.options, address, secure, s.answers.content, s.answers.meetings, s.account)
	s.matrix.traffic, s.matrix.strangler = s.traffic, s.proxy
	s.changes = &changes{book: book, servers: changing, strangler: s.proxy, traffic: s.traffic, account: s.account}
	for _, name := range []string{"refusing", "refusing-mended"} {
		d := book.named(name)
		if err := book.change(d, func() { d.address = s.refusing.address }); err != nil {
			return err
		}
		if err := s.changes.served(ctx, func() error { return s.changes.listed(ctx, d) }); err != nil {
			return fmt.Errorf("let %s refuse: %w", name, err)
		}
	}
	for _, d := range book.all {
		if err := s.changes.served(ctx, func() error { return s.changes.routed(ctx, d) }); err != nil {
			return fmt.Errorf("wait for %s: %w", d.name, err)
		}
	}
	return nil
}

// stop stops the strangler and says what was wrong with its end.
func (s *soak) stop() error {
	if s.closed || s.proxy == nil {
		return nil
	}
	s.closed = true
	return errors.Join(s.proxy.stop(), s.proxy.crashed())
}

// close takes everything down.
func (s *soak) close() error {
	errs := []error{s.stop()}
	if s.traffic != nil {
		s.traffic.hangUp()
	}
	var all sync.WaitGroup
	var mu sync.Mutex
	for _, some := range s.servers {
		for _, one := range some {
			all.Go(func() {
				err := one.stop()
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, err)
			})
		}
	}
	all.Wait()
	if s.breaking != nil {
		errs = append(errs, s.breaking.stop())
	}
	if s.failing != nil {
		errs = append(errs, s.failing.stop())
	}
	if s.refusing != nil {
		errs = append(errs, s.refusing.stop())
	}
	if s.temporary && !s.keep {
		errs = append(errs, os.RemoveAll(s.dir))
	}
	return errors.Join(errs...)
}
