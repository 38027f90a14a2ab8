package postgres

import (
	"testing"

	"strangler/capability"
	"testbed"
)

// TestOutboxesShareATable: a table that one capability moves and another copies is
// captured for both, and what the first one's mover brings back is told to the second.
func TestOutboxesShareATable(t *testing.T) {
	t.Parallel()
	const ddl = `CREATE TABLE customers (id int PRIMARY KEY, name text)`
	url, table := testbed.Database(t), capability.Table{Table: "customers"}
	owning := newFlowIn(t, capability.CaptureTrigger, url, ddl, ddl, table)
	copying := newFlowIn(t, capability.CaptureTrigger, url, "", ddl, table)
	forward, back := owning.follow(capability.Legacy), owning.follow(capability.Extracted)
	copied := copying.follow(capability.Legacy)
	owning.exec(capability.Legacy, `INSERT INTO customers VALUES (1, 'a'), (2, 'b')`)
	for range 2 {
		owning.drain(forward)
		owning.drain(back)
		copying.drain(copied)
		owning.same("customers", "customers", "*", "*")
		copying.same("customers", "customers", "*", "*")
		// Now the other side owns, and the monolith's table is written by the mover.
		owning.exec(capability.Extracted, `UPDATE customers SET name = name || '!'; INSERT INTO customers SELECT max(id) + 1, 'c' FROM customers; DELETE FROM customers WHERE id = 1`)
	}
	owning.drain(back)
	owning.exec(capability.Extracted, `TRUNCATE customers; INSERT INTO customers VALUES (9, 'z')`)
	owning.drain(back)
	owning.drain(forward)
	copying.drain(copied)
	owning.same("customers", "customers", "*", "*")
	copying.same("customers", "customers", "*", "*")
	if got := copying.text(capability.Extracted, `SELECT string_agg(id || name, ' ') FROM public.customers`); got != "9z" {
		t.Errorf("the copy has %s", got)
	}
}
