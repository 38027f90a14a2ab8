package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"testbed"
)

// crowd is many instances of one service, each on a node of its own, in slices that
// fit into Consul's transactions of 64 operations.
type crowd struct {
	name  string
	count int
	kv    *api.Txn
}

const crowdSlice = 30

func (c crowd) change(from int, verb api.ServiceOp) error {
	var ops api.TxnOps
	for i := from; i < min(from+crowdSlice, c.count); i++ {
		node, host := fmt.Sprintf("%s-%04d", c.name, i), fmt.Sprintf("127.1.%d.%d", i/250, i%250+1)
		if verb == api.ServiceSet {
			ops = append(ops, &api.TxnOp{Node: &api.NodeTxnOp{Verb: api.NodeSet, Node: api.Node{Node: node, Address: host}}})
		}
		ops = append(ops, &api.TxnOp{Service: &api.ServiceTxnOp{Verb: verb, Node: node,
			Service: api.AgentService{ID: c.name, Service: c.name, Address: host, Port: 1}}})
	}
	ok, answer, _, err := c.kv.Txn(ops, nil)
	if err == nil && !ok {
		err = fmt.Errorf("refused: %+v", answer.Errors)
	}
	return err
}

// A thousand instances of one capability come and go all the time. A change of
// another's document is live within a second all the same.
func TestDocumentIsLiveBesideACrowd(t *testing.T) {
	t.Parallel()
	const changes = 7
	agent := testbed.ConsulServer(t).Address()
	config := consulConfig()
	config.Address = agent
	client, err := api.NewClient(config)
	if err != nil {
		t.Fatal(err)
	}
	put := func(file, content string) {
		t.Helper()
		if _, err := client.KV().Put(&api.KVPair{Key: "strangler/routes/" + file, Value: []byte(content)}, nil); err != nil {
			t.Fatal(err)
		}
	}
	dir, clients, _ := trafficHouse(t, fmt.Sprintf("store: consul\nconsul: {address: %s, service: \"\"}\nlog: {access: false}\n", agent))
	orders, err := os.ReadFile(filepath.Join(dir, "routes", "orders.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	put("orders.yaml", string(orders))
	put("crowd.yaml", "capability: crowd\nroutes: [{path: /crowd/**}]\nextracted: {consul: crowd}\n")
	all := crowd{"crowd", 1000, client.Txn()}
	for from := 0; from < all.count; from += crowdSlice {
		if err := all.change(from, api.ServiceSet); err != nil {
			t.Fatal(err)
		}
	}
	h := &house{t: t, dir: dir, name: "orders"}
	down := h.up()
	defer down()
	h.types("weight", "orders", "100%")

	stop := make(chan struct{})
	var flapping sync.WaitGroup
	var flaps atomic.Int64
	flapping.Go(func() {
		for from := 0; ; from = (from + crowdSlice) % all.count {
			for _, verb := range []api.ServiceOp{api.ServiceDelete, api.ServiceSet} {
				if err := all.change(from, verb); err != nil {
					t.Error(err)
					return
				}
			}
			flaps.Add(1)
			select {
			case <-stop:
				return
			default:
			}
		}
	})
	defer flapping.Wait()
	defer close(stop)
	content, _, err := client.KV().Get("strangler/routes/orders.yaml", nil)
	if err != nil {
		t.Fatal(err)
	}
	var took []time.Duration
	for i := range changes {
		route := fmt.Sprintf("/turn-%d", i)
		if got := fetch(t, clients+route); !strings.HasPrefix(got, "legacy") {
			t.Fatalf("%s is not claimed yet, and %q answers", route, got)
		}
		began := time.Now()
		put("orders.yaml", strings.Replace(string(content.Value), "routes: [", "routes: [{path: "+route+"/**}, ", 1))
		for !strings.HasPrefix(fetch(t, clients+route), "extracted") {
			if time.Since(began) > 20*time.Second {
				t.Fatalf("change %d is not live", i)
			}
		}
		took = append(took, time.Since(began))
	}
	t.Logf("live after %v, beside %d flaps of %d instances", took, flaps.Load(), crowdSlice)
	slices.Sort(took)
	if usual := took[changes/2]; usual > time.Second {
		t.Errorf("a change is live after %v as a rule", usual)
	}
}
