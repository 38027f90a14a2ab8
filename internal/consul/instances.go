package consul

import "strangler/capability"

// Instances returns the endpoints of a service as the proxy wants them.
func (d *Discovery) Instances(service string) []capability.Instance {
	all := []capability.Instance{}
	for _, e := range d.Endpoints(service) {
		all = append(all, capability.Instance{Address: e})
	}
	return all
}
