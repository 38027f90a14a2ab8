package config

import (
	"net/url"
	"regexp"
	"slices"
	"strconv"

	"strangler/capability"
)

// extracted reads the addresses of the extracted side.
func (v value) extracted() capability.Upstream {
	s := v.section()
	if s == nil {
		return capability.Upstream{}
	}
	u := s.upstream()
	s.close()
	return u
}

// upstream reads endpoints or consul, of which exactly one must be there.
func (s *section) upstream() capability.Upstream {
	var u capability.Upstream
	set(s, "endpoints", &u.Endpoints, value.endpoints)
	set(s, "consul", &u.Consul, value.service)
	switch {
	case s.has("endpoints") && s.has("consul"):
		s.read.add(s.line, s.path, "", "has endpoints and a consul service", "keep one of the two")
	case !s.has("endpoints") && !s.has("consul"):
		s.read.add(s.line, s.path, "", "has no addresses", "write endpoints: [http://127.0.0.1:9000], or consul: SERVICE")
	}
	return u
}

func (v value) endpoints() ([]string, bool) {
	items, ok := v.list()
	if !ok {
		return nil, false
	}
	var endpoints []string
	for _, item := range items {
		text, ok := item.text()
		if !ok {
			continue
		}
		endpoint, message := endpoint(text)
		switch {
		case message != "":
			item.problem(message, "write scheme, host and port, as in http://127.0.0.1:9003")
		case slices.Contains(endpoints, endpoint):
			item.problem("is given twice", "take one out")
		default:
			endpoints = append(endpoints, endpoint)
		}
	}
	return endpoints, true
}

// endpoint returns the URL in the one form in which it is compared, or why it
// is none.
func endpoint(text string) (normal, message string) {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return "", "is no URL"
	case u.Scheme != "http" && u.Scheme != "https":
		return "", "is no absolute http or https URL"
	case u.Hostname() == "":
		return "", "names no host"
	case u.User != nil:
		return "", "has credentials in it, which are not sent"
	case u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return "", "has a path, a query or a fragment; the path of the request is forwarded as it is"
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
			return "", "has no valid port"
		}
	}
	return u.Scheme + "://" + u.Host, ""
}

var serviceForm = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$`)

// service reads the name of a Consul service.
func (v value) service() (string, bool) {
	name, ok := v.text()
	if ok && !serviceForm.MatchString(name) {
		v.problem("is no name of a Consul service", "write letters, digits and dashes")
		return "", false
	}
	return name, ok
}
