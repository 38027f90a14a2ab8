package consul

import (
	"fmt"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"strangler/capability"
	"testbed"
)

// Consul's watches of folders slow down near ten thousand keys. Ours are of the few
// that matter, however long the ledger grows beside them.
func TestLongLedger(t *testing.T) {
	t.Parallel()
	const count = 10_000
	s := openStore(t, testbed.ConsulServer(t).Address(), "long", t.TempDir())
	var ops api.TxnOps
	for i := range count {
		ops = append(ops, &api.TxnOp{KV: &api.KVTxnOp{Verb: api.KVSet, Key: s.key(ledger, s.entryName("orders")), Value: fmt.Appendf(nil, `{"action":"%d"}`, i)}})
		if len(ops) == 64 || i == count-1 {
			if ok, answer, _, err := s.client.Txn().Txn(ops, nil); err != nil || !ok {
				t.Fatalf("transaction: %+v, %v", answer, err)
			}
			ops = nil
		}
	}
	signals := s.watching(t)
	s.put(t, "a.yaml", "name a\n")
	s.become(t, signals, "a=0%")
	began := time.Now()
	s.put(t, "a.yaml", "name a\nweight 1%\n")
	s.become(t, signals, "a=1%")
	woken := time.Since(began)
	began = time.Now()
	entries, err := s.Ledger(t.Context(), "orders", 20)
	if err != nil || len(entries) != 20 || entries[19].Action != fmt.Sprint(count-1) {
		t.Errorf("%d entries, %v", len(entries), err)
	}
	t.Logf("beside %d entries: a change is loaded after %v, the last 20 entries are read in %v", count, woken.Round(time.Millisecond), time.Since(began).Round(time.Millisecond))
}

// A renewal, or an entry of the ledger, wakes nobody; nor does a question that comes
// back without news.
func TestWhatWakesNobody(t *testing.T) {
	s := newStore(t)
	s.bounds.wait = 100 * time.Millisecond
	f := &folder{store: s, dir: routes, signals: make(chan struct{}, 1)}
	ask := func(want bool) {
		t.Helper()
		if err := f.once(t.Context()); err != nil {
			t.Fatal(err)
		}
		select {
		case <-f.signals:
			if !want {
				t.Error("woken for nothing")
			}
		default:
			if want {
				t.Error("not woken")
			}
		}
	}
	ask(true) // the first answer may be of a change
	ask(false)
	if err := s.Append(t.Context(), capability.Entry{Capability: "orders"}); err != nil {
		t.Fatal(err)
	}
	if err := s.Register(t.Context(), capability.Registration{ID: "p"}); err != nil {
		t.Fatal(err)
	}
	s.publish(t, "a", 1, 0)
	ask(false)
	s.put(t, "a.yaml", "name a\n")
	ask(true)
	ask(false)
	s.remove(t, "a.yaml")
	ask(true)
}

// However many changes come while the reader is busy: the last one is not missed.
func TestBurstOfChanges(t *testing.T) {
	s := newStore(t)
	signals := s.watching(t)
	const count = 200
	for i := range count {
		s.put(t, "a.yaml", fmt.Sprintf("name a\nweight %d.%02d%%\n", i/100, i%100))
	}
	s.become(t, signals, "a=1.99%")
	if cap(signals) != 1 {
		t.Errorf("%d slots", cap(signals))
	}
}

// An index that went backwards says that Consul was restored: what is seen then is
// a change, whatever the indexes of its keys.
func TestFolderIndexRules(t *testing.T) {
	const pairs = `[{"Key": "strangler/routes/a.yaml", "ModifyIndex": 3, "Value": ""}]`
	address, asked := script(t,
		map[string]string{"Index": "9", "body": pairs},
		map[string]string{"Index": "9", "body": pairs},
		map[string]string{"Index": "4", "body": pairs},
		map[string]string{"Index": "5", "body": pairs, "KnownLeader": "false"},
		map[string]string{"Index": "5", "body": `[]`, "Results-Filtered-By-ACLs": "true"},
		map[string]string{"Index": "5", "body": pairs},
	)
	s := storeAt(t, address, "", t.TempDir())
	f := &folder{store: s, dir: routes, signals: make(chan struct{}, 1)}
	for i, row := range []struct {
		question    string
		woken, fail bool
	}{
		{"index= stale", true, false},
		{"index=9 stale", false, false},
		{"index=9 stale", true, false},
		{"index= stale", false, false},
		{"index=", false, true},
		{"index=", false, false},
	} {
		err := f.once(t.Context())
		expectQuestions(t, asked, row.question)
		if (err != nil) != row.fail || (len(f.signals) > 0) != row.woken {
			t.Errorf("answer %d: woken %d, %v", i, len(f.signals), err)
		}
		for len(f.signals) > 0 {
			<-f.signals
		}
	}
}
