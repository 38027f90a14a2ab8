package migrate

import (
	"maps"
	"testing"
)

func TestMentions(t *testing.T) {
	t.Parallel()
	orders, items, odd := Relation{"public", "orders"}, Relation{"sales", "items"}, Relation{"public", `Odd "name`}
	all := []Relation{orders, items, odd}
	tests := []struct {
		source string
		want   map[Relation]Access
	}{
		{"", map[Relation]Access{}},
		{"SELECT * FROM ordersx, reorders", map[Relation]Access{}},
		{"SELECT count(*) FROM Orders o", map[Relation]Access{orders: Reads}},
		{"SELECT 1 FROM other.orders, public . orders", map[Relation]Access{orders: Reads}},
		{"SELECT 1 FROM other.orders", map[Relation]Access{}},
		{`SELECT 1 FROM "orders" JOIN "Items"`, map[Relation]Access{orders: Reads}},
		{"INSERT INTO sales.items SELECT * FROM orders", map[Relation]Access{items: Writes, orders: Reads}},
		{"insert\n\tinto ITEMS values (1)", map[Relation]Access{items: Writes}},
		{"SELECT 1 FROM orders; UPDATE ONLY orders SET a = 1; SELECT 1 FROM orders", map[Relation]Access{orders: Writes}},
		{"DELETE FROM ONLY public.orders", map[Relation]Access{orders: Writes}},
		{"TRUNCATE TABLE items; MERGE INTO orders", map[Relation]Access{items: Writes, orders: Writes}},
		{"COPY orders TO STDOUT", map[Relation]Access{orders: Writes}},
		{`EXECUTE 'UPDATE orders SET x = ' || $1`, map[Relation]Access{orders: Writes}},
		{`EXECUTE format('DELETE FROM %I', 'items')`, map[Relation]Access{items: Reads}},
		{"-- UPDATE orders\n/* DELETE FROM items */ SELECT 1", map[Relation]Access{}},
		{"/* unfinished orders", map[Relation]Access{}},
		{`UPDATE "Odd ""name" SET x = "`, map[Relation]Access{odd: Writes}},
	}
	for _, test := range tests {
		if got := mentions(test.source, all); !maps.Equal(got, test.want) {
			t.Errorf("%s\n%v, want %v", test.source, got, test.want)
		}
	}
}

func TestSameText(t *testing.T) {
	t.Parallel()
	rename := map[string]string{"a": "b", "b": "a", "price": "Price"}
	for _, same := range [][2]string{{"(a > b)", "(b > a)"}, {"(price > 0)", `("Price" > 0)`}, {"x = 'a'", "x='a'"}, {`"a" IS NULL`, "b IS NULL"}} {
		if !sameText(same[0], same[1], rename) {
			t.Errorf("%s is not %s", same[0], same[1])
		}
	}
	for _, other := range [][2]string{{"(a > b)", "(a > b)"}, {"x = 'a'", "x = 'b'"}, {"x", "y"}, {"x", "x y"}} {
		if sameText(other[0], other[1], rename) {
			t.Errorf("%s is %s", other[0], other[1])
		}
	}
}

func FuzzWords(f *testing.F) {
	for _, s := range []string{"", `"`, `""`, `"a""b"`, "'", "--", "/*", "/**/", "a$1", "é", "1a"} {
		f.Add(s)
	}
	f.Fuzz(func(_ *testing.T, source string) {
		words(source, true)
		words(source, false)
	})
}

func TestSQLNames(t *testing.T) {
	t.Parallel()
	for relation, want := range map[Relation]string{
		{"public", "orders"}: "public.orders", {"a b", "order"}: `"a b"."order"`, {"x", `q"t`}: `x."q""t"`, {"x", "1a"}: `x."1a"`, {"é", "T"}: `"é"."T"`,
	} {
		if got := relation.SQL(); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}
