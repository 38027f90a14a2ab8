// Package consul is everything that is kept in, and asked of, Consul: the instances
// of services, the documents and states that the proxies share, and the registration
// of the proxy itself.
//
// It owns the questions to Consul and the doubt about its answers: an error is
// never an empty list, an implausible loss is probed or held before it is believed,
// and what was last good is on disk for the next start. Who uses the instances, how
// requests are spread over them, and what the bytes of a document mean, is the
// caller's.
//
// The keys of a Store, below its prefix:
//
//	routes/FILE       the documents
//	effective/NAME    what the proxies route by, by compare-and-set
//	proxies/ID        the registrations, each under a session
//	ledger/TIME…      what was changed, by whom, with what outcome: the newest
//	                  thousand of each capability
package consul
