package main

import (
	"errors"
	"net"
	"net/url"
	"strconv"

	"strangler/proxy"
)

// checked is a flag whose value is held against a check when the command line is
// read, before anybody is asked.
type checked struct {
	text  *string
	kind  string // as the help names it
	check func(string) error
}

// String implements pflag.Value.
func (v checked) String() string {
	if v.text == nil {
		return ""
	}
	return *v.text
}

// Set implements pflag.Value.
func (v checked) Set(s string) error {
	if err := v.check(s); err != nil {
		return err
	}
	*v.text = s
	return nil
}

// Type implements pflag.Value.
func (v checked) Type() string { return v.kind }

// listening is an address to listen on.
func listening(text *string) checked {
	return checked{text, "host:port", func(s string) error {
		if !hostPort(s) {
			return errors.New("write host:port, as in 127.0.0.1:8080")
		}
		return nil
	}}
}

// reaching is an address to connect to.
func reaching(text *string) checked {
	return checked{text, "host:port", func(s string) error {
		u, err := url.Parse(s)
		if host, _, bad := net.SplitHostPort(s); bad == nil && host != "" && hostPort(s) ||
			err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" {
			return nil
		}
		return errors.New("write host:port or a URL, as in 127.0.0.1:8090")
	}}
}

func hostPort(s string) bool {
	_, port, err := net.SplitHostPort(s)
	if err != nil {
		return false
	}
	_, err = strconv.ParseUint(port, 10, 16)
	return err == nil
}

// client is the address of a client.
func client(text *string) checked {
	return checked{text, "address", func(s string) error {
		if s == "" {
			return errors.New("write an IP address as in 192.0.2.1")
		}
		return proxy.Request{Method: "GET", URL: "/", Address: s}.Check()
	}}
}

// positive is a flag that takes a whole number of 1 and above.
type positive int

// String implements pflag.Value.
func (n *positive) String() string { return strconv.Itoa(int(*n)) }

// Set implements pflag.Value.
func (n *positive) Set(s string) error {
	read, err := strconv.Atoi(s)
	if err != nil || read < 1 {
		return errors.New("write a whole number, 1 or more")
	}
	*n = positive(read)
	return nil
}

// Type implements pflag.Value.
func (n *positive) Type() string { return "number" }
