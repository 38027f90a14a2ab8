// Package consul finds the endpoints of services that are registered in Consul.
//
// It owns the questions to Consul and the doubt about its answers: an error is
// never an empty list, an implausible loss is probed before it is believed, and
// what was last good is on disk for the next start. Who uses the endpoints, and
// how requests are spread over them, is the caller's.
package consul
