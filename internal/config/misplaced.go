package config

import "regexp"

// hint is what is said of a key that is unknown where it stands, when more can
// be said than that.
type hint struct{ message, mend string }

// misplaced are keys of the design that this version cannot honour, and keys
// that have their place elsewhere.
var misplaced = map[string]hint{
	"hold.age": {"is one of the times that must nest", "write it as switch.age"},

	"routes[].retries":                {"has its place in the route's resilience", "write `resilience: {retries: 0}`"},
	"routes[].fallback":               {"has its place in the route's resilience", "write `resilience: {fallback: none}`"},
	"routes[].breaker":                {ofCapability, belowResilience},
	"routes[].streams":                {ofCapability, belowResilience},
	"routes[].resilience.breaker":     {ofCapability, belowResilience},
	"routes[].resilience.concurrency": {ofCapability, belowResilience},
	"routes[].resilience.budget":      {ofCapability, belowResilience},
	"routes[].resilience.streams":     {ofCapability, belowResilience},
	"routes[].rewrite":                {"belongs to a side, not to a route", "write it below extracted, as in `rewrite: {prefix: /api/orders, to: /v1}`"},
	"resilience.breakers":             {"is the operator's, not a bound", "write `breakers: {extracted: open}` at the left margin"},

	"rollout.guards":       {"is not there yet: a rollout is not guarded", "take it out"},
	"data.tables[].filter": {"is called where", "write `where: deleted_at IS NULL`"},
}

const (
	ofCapability    = "belongs to the capability, not to a route"
	belowResilience = "write it in the document's own resilience section"
)

var placeForm = regexp.MustCompile(`\[\d+\]`)

// placeless is the path with [] for every place in a list.
func placeless(path string) string { return placeForm.ReplaceAllString(path, "[]") }
