package config

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"strangler/capability"
)

// named is a file that a value names.
type named struct {
	value value
	file  string // relative to where the process was started, or absolute
	ca    bool   // certificates to trust; otherwise it is half of a pair
}

// pair is a certificate and its key, by the files that hold them.
type pair struct{ certificate, key string }

// file reads the name of a file, relative to the one that names it.
func (v value) file() (string, bool) { return v.names(false) }

// authorities reads the name of a file of certificates to trust.
func (v value) authorities() (string, bool) { return v.names(true) }

func (v value) names(ca bool) (string, bool) {
	text, ok := v.text()
	if !ok {
		return "", false
	}
	file := beside(v.read.file, text)
	v.read.named = append(v.read.named, named{value: v, file: file, ca: ca})
	return file, true
}

// checkTLS looks at what only shows between the keys.
func (r *reading) checkTLS(path string, t capability.UpstreamTLS) {
	certificate, key := r.given(path+".certificate"), r.given(path+".key")
	switch {
	case certificate && !key:
		r.add(r.lines[path+".certificate"], path+".certificate", "", "has no key", "write `key:` beside it")
	case key && !certificate:
		r.add(r.lines[path+".key"], path+".key", "", "has no certificate", "write `certificate:` beside it")
	case t.Certificate != "" && t.Key != "":
		r.pairs = append(r.pairs, pair{t.Certificate, t.Key})
	}
}

// certificates reads a list of pairs. It is too deep for a variable.
func (v value) certificates() ([]Certificate, bool) {
	if v.variable != "" {
		v.problem("cannot be given by the environment", "write the list in config.yaml")
		return nil, false
	}
	return distinct(v, func(item value) (Certificate, bool) {
		var c Certificate
		s := item.section()
		if s == nil {
			return c, false
		}
		if v, ok := s.need("certificate", "name the file of the certificate and those that vouch for it"); ok {
			c.Certificate, _ = v.file()
		}
		if v, ok := s.need("key", "name the file of its key"); ok {
			c.Key, _ = v.file()
		}
		s.close()
		if c.Certificate == "" || c.Key == "" {
			return c, false
		}
		v.read.pairs = append(v.read.pairs, pair{c.Certificate, c.Key})
		return c, true
	})
}

// NamedFiles looks at the files that config.yaml and the documents of a
// directory name, and returns what is wrong with them: certificates and keys
// that are not there, cannot be parsed, or are no pairs. It is apart from Load
// and Documents because only processes that serve need those files.
func NamedFiles(path, dir string, documents map[string][]byte) []capability.Problem {
	var problems []capability.Problem
	if content, problem := readConfig(path); problem == nil {
		r := newReading(path, os.LookupEnv)
		r.config(content)
		problems = r.namedFiles()
	}
	for _, name := range slices.Sorted(maps.Keys(documents)) {
		r := newReading(filepath.Join(dir, name), os.LookupEnv)
		r.document(documents[name])
		problems = append(problems, r.namedFiles()...)
	}
	return problems
}

func (r *reading) namedFiles() []capability.Problem {
	r.problems = nil // Load and Documents say them
	contents := map[string][]byte{}
	for _, n := range r.named {
		content, err := readNamed(n.file)
		if err == nil && n.ca {
			err = parseAuthorities(content)
		}
		if err != nil {
			n.value.problem(n.file+" "+err.Error(), "write the path of a PEM file that this user may read, relative to "+filepath.Dir(r.file))
			continue
		}
		contents[n.file] = content
	}
	for _, p := range r.pairs {
		certificate, key := contents[p.certificate], contents[p.key]
		if certificate == nil || key == nil {
			continue
		}
		if _, err := tls.X509KeyPair(certificate, key); err != nil {
			at := slices.IndexFunc(r.named, func(n named) bool { return n.file == p.certificate })
			r.named[at].value.problem(fmt.Sprintf("%s and %s are no pair: %v", p.certificate, p.key, err), "name a certificate and the key that it was made for")
		}
	}
	return r.problems
}

// longestFile is far beyond what a system's own list of authorities takes.
const longestFile = 4 << 20

func readNamed(file string) ([]byte, error) {
	info, err := os.Stat(file)
	switch {
	case err != nil:
		return nil, errors.New("cannot be read: " + reason(err))
	case !info.Mode().IsRegular():
		return nil, errors.New("is no plain file")
	case info.Size() > longestFile:
		return nil, errors.New("is far too long")
	}
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, errors.New("cannot be read: " + reason(err))
	}
	return content, nil
}

func parseAuthorities(content []byte) error {
	found := 0
	for {
		block, rest := pem.Decode(content)
		if block == nil {
			break
		}
		content = rest
		if block.Type != "CERTIFICATE" {
			continue
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			return fmt.Errorf("holds a certificate that cannot be read: %w", err)
		}
		found++
	}
	if found == 0 {
		return errors.New("holds no certificate")
	}
	return nil
}
