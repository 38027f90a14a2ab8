package config

import (
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"strangler/capability"
)

func defaultTraffic() capability.Traffic {
	return capability.Traffic{Owner: capability.Legacy, Subject: capability.Subject{Kind: capability.SubjectMinted}}
}

var trafficKeys = []key[capability.Traffic]{
	{"owner", "", func(v value, t *capability.Traffic) { keep(v, &t.Owner, words(capability.Sides[:]...)) }},
	{"weight", "", func(v value, t *capability.Traffic) { keep(v, &t.Weight, value.weight) }},
	{"mirror", "", func(v value, t *capability.Traffic) { keep(v, &t.Mirror, value.weight) }},
	{"subject", "", func(v value, t *capability.Traffic) { keep(v, &t.Subject, value.subject) }},
	{"salt", "", func(v value, t *capability.Traffic) {
		keep(v, &t.Salt, func(v value) (string, bool) { name := v.name(); return name, name != "" })
	}},
	{"always", "", func(v value, t *capability.Traffic) { keep(v, &t.Always, value.subjects) }},
	{"never", "", func(v value, t *capability.Traffic) { keep(v, &t.Never, value.subjects) }},
}

var claimForm = regexp.MustCompile(`^[A-Za-z0-9_.:/-]+$`)

func (v value) subject() (capability.Subject, bool) {
	const mend = "write cookie:NAME, header:NAME, claim:NAME or address, or leave it out for a cookie of our own"
	text, ok := v.text()
	if !ok {
		return capability.Subject{}, false
	}
	kind, name, named := strings.Cut(text, ":")
	switch subject := (capability.Subject{Kind: capability.SubjectKind(kind), Name: name}); {
	case subject.Kind == capability.SubjectAddress && !named:
		return subject, true
	case subject.Kind == capability.SubjectHeader && name != "":
		header, message := headerName(name)
		if subject.Name = header; message == "" {
			return subject, true
		}
		v.problem("names no header to go by: "+name+" "+message, mend)
	case subject.Kind == capability.SubjectCookie && token(name), subject.Kind == capability.SubjectClaim && claimForm.MatchString(name):
		return subject, true
	case slices.Contains([]capability.SubjectKind{capability.SubjectCookie, capability.SubjectHeader, capability.SubjectClaim}, subject.Kind):
		v.problem("has no valid name after the colon", mend)
	default:
		v.problem("is no subject", mend)
	}
	return capability.Subject{}, false
}

func (v value) subjects() ([]string, bool) { return distinct(v, value.text) }

// checkTraffic looks at what only shows between the keys, and writes addresses
// as the proxy does.
func (r *reading) checkTraffic(t *capability.Traffic) {
	lists := []struct {
		path     string
		subjects []string
	}{{"traffic.always", t.Always}, {"traffic.never", t.Never}}
	if t.Subject.Kind == capability.SubjectAddress {
		for _, list := range lists {
			for i, text := range list.subjects {
				address, err := netip.ParseAddr(text)
				if err != nil {
					r.add(r.lines[list.path], list.path, text, "is no address, and the subject is one", "write it as in 192.0.2.7")
					continue
				}
				list.subjects[i] = address.Unmap().String()
			}
		}
	}
	for i, text := range t.Never {
		if slices.Contains(t.Always, text) {
			r.add(r.lines["traffic.never"], "traffic.never["+strconv.Itoa(i)+"]", text, "is in traffic.always as well", "take it out of one of the two")
		}
	}
}
