package postgres

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"strangler/capability"
	"strangler/migrate"
	"testbed"
)

// TestEveryMissingRightHasAMendThatWorks: a role with nothing is given what is
// asked for, statement by statement as it is written, and then moves the tables.
func TestEveryMissingRightHasAMendThatWorks(t *testing.T) {
	t.Parallel()
	m := newMigration(t, capability.CaptureWAL, "", shopData())
	role, owner := `Poor "mover" `+m.name, "owner of "+m.name
	name, ownerName := pgx.Identifier{role}.Sanitize(), pgx.Identifier{owner}.Sanitize()
	databases := map[capability.Side]*Database{}
	for _, side := range capability.Sides {
		m.exec(side, `CREATE ROLE `+name+` LOGIN PASSWORD 'poor'; CREATE ROLE `+ownerName+`; GRANT CREATE ON SCHEMA public TO `+ownerName+`, `+name+`; SET ROLE `+ownerName+`; `+shop)
		t.Cleanup(func() {
			m.exec(side, `DROP OWNED BY `+name+`, `+ownerName+` CASCADE; REVOKE SET ON PARAMETER session_replication_role FROM `+name+`; DROP ROLE `+name+`, `+ownerName)
		})
		u, err := url.Parse(m.urls[side])
		m.must(err)
		u.User = url.UserPassword(role, "poor")
		databases[side], err = Open(t.Context(), side, u.String())
		m.must(err)
		t.Cleanup(databases[side].Close)
	}
	// The service's payments refer to its orders: what is empty cannot be truncated then.
	m.exec(capability.Extracted, `ALTER TABLE order_lines RENAME TO items; ALTER TABLE items RENAME unit_price_cents TO price_cents; TRUNCATE orders, items, customers, payments`)

	all := []migrate.Relation{{Schema: "public", Name: "orders"}, {Schema: "public", Name: "order_lines"}, {Schema: "public", Name: "items"}, {Schema: "public", Name: "customers"}}
	poor := *m
	poor.databases, poor.gates = databases, NewGates(m.name, databases[capability.Legacy], databases[capability.Extracted])
	data := shopData()
	data.Capture = capability.CaptureWAL // and no way around what is missing
	if plan, problems, err := poor.mover(data, 1).Plan(t.Context()); err != nil || len(problems) < 10 || len(plan.Tables) != 3 || len(plan.Sequences) != 1 || strings.Contains(fmt.Sprint(problems), "SEQUENCE") {
		t.Errorf("a plan without rights: %+v, %v, %v", plan, problems, err)
	}
	for _, side := range capability.Sides {
		problems, err := databases[side].Rights(t.Context(), all, capability.CaptureWAL, false, nil)
		m.must(err)
		if len(problems) < 5 {
			t.Errorf("%s: only %v", side, problems)
		}
		for i, p := range problems {
			m.exec(side, p.Mend)
			after, err := databases[side].Rights(t.Context(), all, capability.CaptureWAL, false, nil)
			m.must(err)
			if len(after) != len(problems)-i-1 {
				t.Errorf("%s: %q did not mend %q: %v", side, p.Mend, p.Message, after)
			}
		}
	}
	poor.Mover = poor.mover(shopData(), 1)
	stop := poor.follows(poor.Mover)
	m.exec(capability.Legacy, `UPDATE orders SET note = 'poor' WHERE id = 1`)
	poor.settled(capability.Legacy)
	poor.verify(capability.Legacy, 0)
	m.must(poor.DropBorder(t.Context()))
	m.must(poor.CarrySequences(t.Context(), capability.Legacy, poor.Document.Data))
	stop()
	m.must(poor.Reset(t.Context(), false, nil))
}

func TestServersThatCannotStream(t *testing.T) {
	t.Parallel()
	poor := testbed.Cluster(t, map[string]string{"wal_level": "replica", "max_replication_slots": "1", "max_wal_senders": "2"})
	d, err := Open(t.Context(), capability.Legacy, poor.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	problems, err := d.Rights(t.Context(), nil, capability.CaptureWAL, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprint(problems)
	for _, want := range []string{"wal_level = logical", "max_replication_slots = 5", "max_wal_senders = 10"} {
		if !strings.Contains(text, want) {
			t.Errorf("nothing about %s in %s", want, text)
		}
	}
}
