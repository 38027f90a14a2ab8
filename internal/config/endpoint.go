package config

import (
	"net/url"
	"regexp"
	"strconv"
)

func (v value) endpoints() ([]string, bool) {
	return distinct(v, func(item value) (string, bool) {
		text, ok := item.text()
		if !ok {
			return "", false
		}
		endpoint, message := endpoint(text)
		if message != "" {
			item.problem(message, "write scheme, host and port, as in http://127.0.0.1:9003")
		}
		return endpoint, message == ""
	})
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
		return "", "has a path, a query or a fragment; paths are translated by rewrite"
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
