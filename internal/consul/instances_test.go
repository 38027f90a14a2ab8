package consul

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"unsafe"

	"github.com/hashicorp/consul/api"

	"strangler/capability"
	"testbed"
)

func TestInstancesOfAnAnswer(t *testing.T) {
	t.Parallel()
	node := &api.Node{Address: "10.0.0.9", Meta: map[string]string{"zone": "n"}}
	far := &api.Node{Address: "10.0.0.8", Meta: map[string]string{"zone": "n"}, Locality: &api.Locality{Zone: "l"}}
	entry := func(n *api.Node, host string, weight int, meta string, locality *api.Locality) *api.ServiceEntry {
		s := &api.AgentService{ID: "id", Address: host, Port: 80, Weights: api.AgentWeights{Passing: weight}, Locality: locality}
		if host == "" {
			s.Port = 0
		}
		if meta != "" {
			s.Meta = map[string]string{"zone": meta}
		}
		return &api.ServiceEntry{Node: n, Service: s}
	}
	all, nowhere := instances([]*api.ServiceEntry{
		entry(node, "10.0.0.5", 0, "", nil),
		entry(node, "10.0.0.2", 3, "m", nil),
		entry(node, "10.0.0.2", 7, "m", nil), // an earlier id of the same process
		entry(node, "10.0.0.1", 1, "m", &api.Locality{Zone: "s"}),
		entry(far, "10.0.0.3", 1, "", &api.Locality{Region: "only"}),
		entry(nil, "10.0.0.4", -1, "", nil),
		entry(nil, "", 1, "", nil),
	})
	want := []capability.Instance{
		{Address: "http://10.0.0.1:80", Weight: 1, Zone: "s"}, {Address: "http://10.0.0.2:80", Weight: 7, Zone: "m"},
		{Address: "http://10.0.0.3:80", Weight: 1, Zone: "l"}, {Address: "http://10.0.0.4:80", Weight: 1}, {Address: "http://10.0.0.5:80", Weight: 1, Zone: "n"},
	}
	if !slices.Equal(all, want) || !slices.Equal(nowhere, []string{"id"}) {
		t.Errorf("got %v, and without an address %v", all, nowhere)
	}
}

// Weights and zones come from a real agent, survive a restart of ours, and wake
// the reader when they alone change.
func TestWeightsAndZones(t *testing.T) {
	weighed, other := unique("weighed"), unique("other")
	agent, saved := testbed.Consul(t), t.TempDir()
	c := newCatalog(t, agent)
	d := start(t, Options{Address: agent, Snapshot: saved}, nil)
	d.Watch(weighed, other)
	register := func(weight int) {
		c.register(&api.AgentServiceRegistration{
			ID: weighed, Name: weighed, Address: "127.0.0.1", Port: 7061, Meta: map[string]string{"zone": "a"},
			Weights: &api.AgentWeights{Passing: weight, Warning: 1},
		})
	}
	register(20)
	d.await(t, weighed, "http://127.0.0.1:7061")
	before := d.Instances(weighed)
	if want := []capability.Instance{{Address: "http://127.0.0.1:7061", Weight: 20, Zone: "a"}}; !slices.Equal(before, want) {
		t.Errorf("got %v, want %v", before, want)
	}
	d.await(t, other)
	d.await(t, other, c.add(other, "http://127.0.0.1:7062"))
	if after := d.Instances(weighed); unsafe.SliceData(after) != unsafe.SliceData(before) {
		t.Error("another slice although nothing changed")
	}
	register(30)
	for d.Instances(weighed)[0].Weight != 30 {
		awaitSignal(t, d.Changes())
	}
	d.written()
	cold, err := NewDiscovery(Options{Address: "127.0.0.1:1", Snapshot: saved})
	if err != nil {
		t.Fatal(err)
	}
	cold.Watch(weighed)
	if got := cold.Instances(weighed); !slices.Equal(got, d.Instances(weighed)) {
		t.Errorf("a cold start has %v", got)
	}
}

// A service that no document names is not asked for any more. Named again, it is
// served from what was kept, and watched anew.
func TestWatchReplaces(t *testing.T) {
	stays, goes := unique("stays"), unique("goes")
	agent := testbed.Consul(t)
	c := newCatalog(t, agent)
	d := start(t, Options{Address: agent, Snapshot: t.TempDir()}, nil)
	d.Watch(stays, goes)
	one, two := c.add(goes, "http://127.0.0.1:7071"), c.add(stays, "http://127.0.0.1:7072")
	d.await(t, goes, one)
	d.await(t, stays, two)
	d.written()
	d.Watch(stays)
	if got := d.Endpoints(goes); len(got) != 0 {
		t.Errorf("given up, and has %v", got)
	}
	three := c.add(goes, "http://127.0.0.1:7073")
	d.await(t, stays, two)
	d.await(t, stays, two, c.add(stays, "http://127.0.0.1:7074"))
	if got := d.Endpoints(goes); len(got) != 0 {
		t.Errorf("given up, and has %v", got)
	}
	d.Watch(stays, goes)
	if got := d.Endpoints(goes); !slices.Contains(got, one) {
		t.Errorf("named again, and has %v", got)
	}
	d.await(t, goes, one, three)
	d.Watch()
	d.Watch(goes) // in one go, before the old watch has noticed
	d.await(t, goes, one, three)
	d.await(t, goes, one, three, c.add(goes, "http://127.0.0.1:7075"))
}

func TestSnapshotFromBeforeWeights(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "old.json"), []byte(`{"service":"old","endpoints":["http://a:1","https://b:2"]}`), 0o644); err != nil {
		t.Fatal(err)
	}
	d, err := NewDiscovery(Options{Address: "127.0.0.1:1", Snapshot: dir})
	if err != nil {
		t.Fatal(err)
	}
	d.Watch("old")
	if want := []capability.Instance{{Address: "http://a:1", Weight: 1}, {Address: "https://b:2", Weight: 1}}; !slices.Equal(d.Instances("old"), want) {
		t.Errorf("got %v", d.Instances("old"))
	}
}
