package consul

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"testbed"
)

func TestFollowsConsul(t *testing.T) {
	follow, nobody, later := unique("follow"), unique("nobody"), unique("later")
	agent := testbed.Consul(t)
	c := newCatalog(t, agent)
	d := start(t, Options{Address: agent}, nil)
	d.Watch(follow, nobody)
	one := c.add(follow, "http://127.0.0.1:7001")
	d.await(t, follow, one)
	two := c.add(follow, "http://127.0.0.1:7002")
	d.await(t, follow, one, two)
	c.register(&api.AgentServiceRegistration{ID: unique("https"), Name: follow, Port: 7003, Tags: []string{"scheme=https"}})
	d.await(t, follow, one, two, "https://127.0.0.1:7003")
	c.remove(follow, two)
	d.await(t, follow, one, "https://127.0.0.1:7003")
	if got := d.Endpoints(nobody); len(got) != 0 {
		t.Errorf("nobody has %v", got)
	}

	other := c.add(later, "http://127.0.0.1:7004")
	d.Watch(later, follow)
	d.await(t, later, other)
	d.await(t, follow, one, "https://127.0.0.1:7003")
}

func TestPassingOnly(t *testing.T) {
	checked := unique("checked")
	agent := testbed.Consul(t)
	c := newCatalog(t, agent)
	d := start(t, Options{Address: agent}, nil)
	d.Watch(checked)
	sound := c.add(checked, "http://127.0.0.1:7011")
	for _, id := range []string{checked + "-1", checked + "-2"} {
		c.register(&api.AgentServiceRegistration{
			ID: id, Name: checked, Address: "127.0.0.1", Port: 7012,
			Check: &api.AgentServiceCheck{CheckID: id, TTL: "10m", Status: api.HealthCritical},
		})
	}
	d.await(t, checked, sound)
	if err := c.agent.UpdateTTL(checked+"-1", "", api.HealthPassing); err != nil {
		t.Fatal(err)
	}
	d.await(t, checked, sound, "http://127.0.0.1:7012")
}

// Most instances vanish from Consul at once, and are still there.
func TestImplausibleLossIsHeld(t *testing.T) {
	agent, held, node := testbed.Consul(t), unique("held"), unique("node")
	c := newCatalog(t, agent)
	d := start(t, Options{Address: agent}, nil)
	d.Watch(held)
	one, _ := instance(t)
	c.add(held, one)
	two, listener := instance(t)
	three, _ := instance(t)
	four, _ := instance(t)
	for _, endpoint := range []string{two, three, four} {
		c.addTo(node, held, endpoint)
	}
	d.await(t, held, one, two, three, four)

	// Kept beside what is new, until a probe says that one is dead.
	c.lose(node)
	five, _ := instance(t)
	c.add(held, five)
	d.await(t, held, one, two, three, four, five)
	if p := d.Problems(); len(p) != 1 || !strings.Contains(p[0].String(), "3 instances are missing in consul") {
		t.Errorf("problems: %v", p)
	}
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	d.await(t, held, one, three, four, five)

	// Consul has them again, and the doubt is over: a single loss is believed.
	c.add(held, three)
	c.add(held, four)
	six := c.add(held, "http://127.0.0.1:7051")
	d.await(t, held, one, three, four, five, six)
	c.remove(held, one)
	d.await(t, held, three, four, five, six)
	if p := d.Problems(); len(p) != 0 {
		t.Errorf("problems: %v", p)
	}
}

func TestImplausibleLossIsBelievedInTheEnd(t *testing.T) {
	agent, patience, node := testbed.Consul(t), unique("patience"), unique("node")
	c := newCatalog(t, agent)
	d := start(t, Options{Address: agent}, func(b *bounds) { b.patience = 200 * time.Millisecond })
	d.Watch(patience)
	one, _ := instance(t)
	two, _ := instance(t)
	three, _ := instance(t)
	c.add(patience, one)
	c.addTo(node, patience, two)
	c.addTo(node, patience, three)
	d.await(t, patience, one, two, three)
	c.lose(node)
	d.await(t, patience, one)
}

// Nothing is left in Consul: what still answers is used, however long it takes.
func TestEmptyAnswer(t *testing.T) {
	agent, emptied, node := testbed.Consul(t), unique("emptied"), unique("node")
	c := newCatalog(t, agent)
	d := start(t, Options{Address: agent}, func(b *bounds) { b.patience = time.Nanosecond })
	d.Watch(emptied)
	one, listener := instance(t)
	two := dead(t)
	c.addTo(node, emptied, one)
	c.addTo(node, emptied, two)
	d.await(t, emptied, one, two)
	c.lose(node)
	d.await(t, emptied, one)
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	d.await(t, emptied)
}

func TestOutage(t *testing.T) {
	t.Parallel()
	outage := unique("outage")
	agent := testbed.ConsulServer(t)
	c := newCatalog(t, agent.Address())
	saved := filepath.Join(t.TempDir(), "snapshot")
	d := run(t, Options{Address: agent.Address(), Snapshot: saved}, nil)
	d.Watch(outage)
	one := c.add(outage, "http://127.0.0.1:7021")
	two := c.add(outage, "http://127.0.0.1:7022")
	d.await(t, outage, one, two)
	d.written()
	if err := agent.Stop(); err != nil {
		t.Fatal(err)
	}

	// Another process starts meanwhile.
	cold := run(t, Options{Address: agent.Address(), Snapshot: saved}, nil)
	cold.Watch(outage)
	if got := cold.Endpoints(outage); !slices.Equal(got, []string{one, two}) {
		t.Errorf("a cold start has %v", got)
	}
	for _, discovery := range []*Discovery{d, cold} {
		if got := discovery.Endpoints(outage); !slices.Equal(got, []string{one, two}) {
			t.Errorf("during the outage: %v", got)
		}
	}
	if err := agent.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	three := c.add(outage, "http://127.0.0.1:7023")
	d.await(t, outage, one, two, three)
	cold.await(t, outage, one, two, three)
}

// What was saved is of use only where it can be read; nothing fails of it.
func TestSpoiledSnapshot(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, content := range map[string]string{"torn.json": `{"service":"to`, "other.json": `{"service":"x","endpoints":["http://a:1"]}`} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	d, err := NewDiscovery(Options{Address: "127.0.0.1:1", Snapshot: dir})
	if err != nil {
		t.Fatal(err)
	}
	d.Watch("torn", "other", "../../etc/passwd")
	for _, service := range []string{"torn", "other", "../../etc/passwd"} {
		if got := d.Endpoints(service); len(got) != 0 {
			t.Errorf("%s has %v", service, got)
		}
	}
	if file := d.snapshotFile("../x"); filepath.Dir(file) != dir || !strings.HasSuffix(file, ".json") {
		t.Errorf("leads to %s", file)
	}
}
