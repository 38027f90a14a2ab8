package consul

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/hashicorp/consul/api"

	"strangler/capability"
	"testbed"
)

// counter counts the questions about one service, and the answers that do not say
// how old they are.
type counter struct {
	http.RoundTripper
	path      string
	questions atomic.Int64
	ageless   atomic.Int64
}

func (c *counter) RoundTrip(r *http.Request) (*http.Response, error) {
	ours := strings.HasSuffix(r.URL.Path, c.path)
	if ours {
		c.questions.Add(1)
	}
	response, err := c.RoundTripper.RoundTrip(r)
	if ours && err == nil && response.Header.Get("X-Consul-Query-Backend") == api.QueryBackendStreaming {
		c.ageless.Add(1)
	}
	return response, err
}

// counted is a client whose questions about one service are counted.
func counted(t *testing.T, agent, service string) (*api.Client, *counter) {
	t.Helper()
	config := api.DefaultConfig()
	transport := &counter{RoundTripper: config.Transport, path: "/" + service}
	client, err := api.NewClient(&api.Config{Address: agent, HttpClient: &http.Client{Transport: transport}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(config.Transport.CloseIdleConnections)
	return client, transport
}

// crowd registers instances, each on a node of its own and in the same few
// transactions, which Consul limits to 64 operations.
func (c catalog) crowd(kv *api.Txn, service string, from, to int, verb api.ServiceOp) {
	c.t.Helper()
	var ops api.TxnOps
	flush := func() {
		c.t.Helper()
		if len(ops) == 0 {
			return
		}
		if ok, answer, _, err := kv.Txn(ops, nil); err != nil || !ok {
			c.t.Fatalf("transaction: %+v, %v", answer, err)
		}
		ops = nil
	}
	for i := from; i < to; i++ {
		node, host := fmt.Sprintf("%s-%04d", service, i), fmt.Sprintf("127.1.%d.%d", i/250, i%250+1)
		if verb == api.ServiceSet {
			ops = append(ops, &api.TxnOp{Node: &api.NodeTxnOp{Verb: api.NodeSet, Node: api.Node{Node: node, Address: host}}})
		}
		ops = append(ops, &api.TxnOp{Service: &api.ServiceTxnOp{Verb: verb, Node: node, Service: api.AgentService{
			ID: service, Service: service, Address: host, Port: 1, Weights: api.AgentWeights{Passing: 1 + i%3, Warning: 1},
		}}})
		if len(ops) >= 62 {
			flush()
		}
	}
	flush()
}

// A thousand instances of one service, beside others that come and go, and nodes
// that change all the time, so that the watch is woken for nothing: its own changes
// are seen within seconds all the same, and the load is bounded.
func TestThousandInstances(t *testing.T) {
	t.Parallel()
	const count = 1000
	agent, crowded := testbed.ConsulServer(t).Address(), unique("crowded")
	c := newCatalog(t, agent)
	client, transport := counted(t, agent, crowded)
	c.crowd(client.Txn(), crowded, 0, count, api.ServiceSet)
	d := run(t, Options{Client: client, Snapshot: t.TempDir()}, nil)
	began := time.Now()
	d.Watch(crowded)
	d.number(t, crowded, count)
	t.Logf("%d instances after %v", count, time.Since(began).Round(time.Millisecond))

	stop, churned := make(chan struct{}), make(chan struct{}, 1)
	var churn sync.WaitGroup
	var writes atomic.Int64
	churn.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			err := c.agent.ServiceRegister(&api.AgentServiceRegistration{ID: fmt.Sprint("churn-", i%20), Name: "churn", Port: 1 + i%60000})
			if err == nil { // of an instance that stays
				_, err = c.catalog.Register(&api.CatalogRegistration{
					Node: crowded + "-0500", Address: "127.1.2.1", NodeMeta: map[string]string{"turn": fmt.Sprint(i)},
				}, nil)
			}
			if err != nil {
				t.Error(err)
				return
			}
			writes.Add(1)
			signal(churned)
		}
	})
	defer churn.Wait()
	defer close(stop)
	// Until the watch has been woken for nothing several times.
	before, asked, since := d.Instances(crowded), transport.questions.Load(), time.Now()
	for transport.questions.Load() < asked+paceBurst+3 {
		awaitSignal(t, churned)
		if time.Since(since) > deadline {
			t.Fatal("the watch is not woken")
		}
	}
	if got := d.Instances(crowded); unsafe.SliceData(got) != unsafe.SliceData(before) {
		t.Error("another slice although nothing changed")
	}
	for i, change := range []struct {
		from, to, want int
		verb           api.ServiceOp
	}{{count, count + 1, count + 1, api.ServiceSet}, {3, 4, count, api.ServiceDelete}, {10, 40, count - 30, api.ServiceDelete}} {
		began := time.Now()
		c.crowd(client.Txn(), crowded, change.from, change.to, change.verb)
		d.number(t, crowded, change.want)
		took := time.Since(began)
		t.Logf("change %d is seen after %v", i, took.Round(time.Millisecond))
		if took > deadline/2 {
			t.Errorf("change %d took %v", i, took)
		}
	}
	took, questions := time.Since(since), transport.questions.Load()-asked
	t.Logf("%d questions in %v beside %d unrelated writes", questions, took.Round(time.Millisecond), writes.Load())
	if most := int64(took/paceStep) + paceBurst + 1; questions > most {
		t.Errorf("%d questions in %v, want %d at most", questions, took, most)
	}
}

// A change costs one question. An agent that may answer from a stream of its own,
// as it does unless told otherwise, would not say how old that answer is, and every
// change would have to be asked for again, of the leader.
func TestOneQuestionForAChange(t *testing.T) {
	t.Parallel()
	const count = 10
	agent, service := testbed.Consul(t), unique("changing")
	c := newCatalog(t, agent)
	client, transport := counted(t, agent, service)
	d := run(t, Options{Client: client}, nil)
	d.Watch(service)
	endpoints := []string{c.add(service, "http://127.0.0.1:7200")}
	d.await(t, service, endpoints...)
	before := transport.questions.Load()
	for i := range count {
		endpoints = append(endpoints, c.add(service, fmt.Sprintf("http://127.0.0.1:%d", 7201+i)))
		d.await(t, service, endpoints...)
	}
	questions := transport.questions.Load() - before
	t.Logf("%d questions for %d changes", questions, count)
	if questions > count+2 {
		t.Errorf("%d questions for %d changes", questions, count)
	}
	if n := transport.ageless.Load(); n > 0 {
		t.Errorf("%d answers do not say how old they are", n)
	}
}

// While a loss is in doubt, Consul answers every question about it.
func TestDoubtIsNoSilence(t *testing.T) {
	agent, service, node := testbed.Consul(t), unique("doubted"), unique("node")
	c := newCatalog(t, agent)
	d, err := NewDiscovery(Options{Address: agent})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.idle.CloseIdleConnections)
	d.bounds.wait, d.bounds.recheck = 100*time.Millisecond, 50*time.Millisecond
	one, _ := instance(t)
	c.addTo(node, service, one)
	d.Watch(service)
	v := &view{watching: d.watched[service]}
	for i := range 8 {
		if i == 2 {
			c.lose(node)
		}
		if err := d.once(t.Context(), v); err != nil {
			t.Errorf("question %d: %v", i, err)
		}
	}
	if got := d.Endpoints(service); !slices.Equal(got, []string{one}) || v.doubt.IsZero() {
		t.Errorf("has %v, in doubt since %v", got, v.doubt)
	}
}

// number waits until a service has that many instances.
func (d *Discovery) number(t *testing.T, service string, want int) {
	t.Helper()
	timeout := time.After(deadline)
	for len(d.Instances(service)) != want {
		select {
		case <-d.Changes():
		case <-timeout:
			t.Fatalf("%d instances, want %d", len(d.Instances(service)), want)
		}
	}
}

// Of many that are lost together, every one that answers is found.
func TestManyProbes(t *testing.T) {
	one, _ := instance(t)
	gone := dead(t)
	var all, want []capability.Instance
	for i := range 5 * probes {
		address := gone
		if i%7 == 0 {
			address = one
			want = append(want, capability.Instance{Address: one, Weight: i})
		}
		all = append(all, capability.Instance{Address: address, Weight: i})
	}
	d, err := NewDiscovery(Options{Address: "127.0.0.1:1"})
	if err != nil {
		t.Fatal(err)
	}
	got := d.alive(t.Context(), all)
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%d of %d are found", len(got), len(want))
	}
}
