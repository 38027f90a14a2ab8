package generate

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/crypto/bcrypt"
	"testbed"

	"legacy-monolith/database"
)

func TestMain(m *testing.M) { testbed.Main(m) }

var size = Size{Customers: 300, Products: 50, Orders: 2_000, Seed: 1}

func migrated(t *testing.T) *pgxpool.Pool {
	t.Helper()
	pool, err := database.Connect(t.Context(), testbed.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	if _, err := database.Migrate(t.Context(), pool); err != nil {
		t.Fatal(err)
	}
	return pool
}

func loaded(t *testing.T, size Size) *pgxpool.Pool {
	t.Helper()
	pool := migrated(t)
	if _, err := Load(t.Context(), pool, size); err != nil {
		t.Fatal(err)
	}
	return pool
}

func value(t *testing.T, pool *pgxpool.Pool, query string) (text string) {
	t.Helper()
	if err := pool.QueryRow(t.Context(), `select coalesce((`+query+`)::text, '')`).Scan(&text); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return text
}

func contents(t *testing.T, pool *pgxpool.Pool) string {
	t.Helper()
	var all strings.Builder
	for _, table := range imagine(size).tables() {
		fmt.Fprintln(&all, table.name, value(t, pool, `select md5(string_agg(t::text, ',' order by t::text)) from `+table.name+` t`))
	}
	return all.String()
}

func TestTheSameSeedMakesTheSameRows(t *testing.T) {
	t.Parallel()
	first, second := contents(t, loaded(t, size)), contents(t, loaded(t, size))
	if first != second {
		t.Errorf("two loads of one seed differ:\n%s\n%s", first, second)
	}
	other := size
	other.Seed = 2
	if third := contents(t, loaded(t, other)); third == first {
		t.Error("another seed made the same rows")
	}
}

func TestSizes(t *testing.T) {
	t.Parallel()
	pool := loaded(t, size)
	for query, want := range map[string]string{
		`select count(*) || ' ' || min(email) from customers where id = 1`:                             "1 customer-1@example.com",
		`select count(*) from customers`:                                                               "300",
		`select count(*) from products`:                                                                "50",
		`select count(*) || ' ' || min(quantity) || ' ' || max(quantity) from stock`:                   "50 100000 100000",
		`select count(*) from orders`:                                                                  "2000",
		`select min(n) || ' ' || max(n) from (select count(*) n from order_lines group by order_id) l`: "1 3",
		`select count(*) > 0 from orders where status = 'cancelled'`:                                   "true",
		`select count(*) > 0 from cart_lines`:                                                          "true",
	} {
		if got := value(t, pool, query); got != want {
			t.Errorf("%s gives %s, want %s", query, got, want)
		}
	}
	defaults := imagine(Default)
	if len(defaults.orders) != 200_000 || len(defaults.products) != 5_000 || defaults.size.Customers != 20_000 {
		t.Errorf("default past has %d orders and %d products", len(defaults.orders), len(defaults.products))
	}
}

// Each query lists rows that break a promise of the modules.
func TestTheDataKeepsThePromises(t *testing.T) {
	t.Parallel()
	pool := loaded(t, size)
	for what, query := range map[string]string{
		"order whose total is not its lines'": `select o.id from orders o where total_cents <>
			(select sum(quantity * unit_price_cents) from order_lines l where l.order_id = o.id)`,
		"line without its take": `select l.order_id from order_lines l left join stock_movements m
			on m.order_id = l.order_id and m.product_id = l.product_id and m.kind = 'take' and m.quantity = l.quantity where m.order_id is null`,
		"return that does not go with a cancelled order": `select o.id from orders o join order_lines l on l.order_id = o.id
			where (status = 'cancelled') <> exists (select from stock_movements m
				where m.order_id = o.id and m.product_id = l.product_id and m.kind = 'return' and m.quantity = l.quantity)`,
		"order without its payment": `select o.id from orders o left join payments p on p.order_id = o.id and p.customer_id = o.customer_id
			and p.amount_cents = o.total_cents and (p.status = 'refunded') = (o.status = 'cancelled') where p.id is null`,
		"payment without its invoice": `select p.id from payments p left join invoices i on i.payment_id = p.id and i.order_id = p.order_id where i.id is null`,
		"order that was not logged": `select o.id from orders o where (select string_agg(kind, ' ' order by id) from order_log l
			where l.order_id = o.id and l.customer_id = o.customer_id)
			<> case status when 'cancelled' then 'checkout cancel' else 'checkout' end`,
		"customer whose counter is not the log": `select customer_id from order_stats s full join
			(select customer_id, count(*) n from order_log group by 1) l using (customer_id) where s.writes is distinct from l.n`,
		"order older than its customer": `select o.id from orders o join customers c on c.id = o.customer_id where o.created_at < c.created_at`,
		"order id out of order of time": `select id from (select id, created_at < lag(created_at) over (order by id) early from orders) o where early`,
	} {
		if broken := value(t, pool, `select string_agg(row::text, ' ') from (select * from (`+query+`) r limit 5) row`); broken != "" {
			t.Errorf("%s: %s", what, broken)
		}
	}
}

func TestTheSchemaIsTheSameAfterwards(t *testing.T) {
	t.Parallel()
	constraints := `select string_agg(conrelid::regclass || ' ' || conname || ' ' || pg_get_constraintdef(oid) || convalidated, '; ' order by conrelid::regclass::text, conname)
		from (select * from pg_constraint where connamespace = 'public'::regnamespace) c`
	pool := migrated(t)
	before := value(t, pool, constraints)
	if _, err := Load(t.Context(), pool, size); err != nil {
		t.Fatal(err)
	}
	if after := value(t, pool, constraints); after != before {
		t.Errorf("constraints are\n%s\nwant\n%s", after, before)
	}
	for table, rows := range map[string]int{"customers": 300, "products": 50, "orders": 2000, "payments": 2000, "invoices": 2000} {
		query := fmt.Sprintf(`select nextval(pg_get_serial_sequence('%s', 'id'))`, table)
		if got, want := value(t, pool, query), fmt.Sprint(rows+1); got != want {
			t.Errorf("next id of %s is %s, want %s", table, got, want)
		}
	}
}

func TestLoadRefusesWhereThereIsData(t *testing.T) {
	t.Parallel()
	pool := loaded(t, size)
	before := contents(t, pool)
	for range 2 {
		if _, err := Load(t.Context(), pool, Default); !errors.Is(err, ErrNotEmpty) {
			t.Fatalf("error is %v, want %v", err, ErrNotEmpty)
		}
	}
	if contents(t, pool) != before {
		t.Error("a refused load changed something")
	}
}

func TestSmallAndWrongSizes(t *testing.T) {
	t.Parallel()
	for _, good := range []Size{{}, {Customers: 1}, {Customers: 1, Products: 1, Orders: 30}} {
		if _, err := Load(t.Context(), migrated(t), good); err != nil {
			t.Errorf("%+v: %v", good, err)
		}
	}
	for _, wrong := range []Size{{Orders: 1}, {Customers: 1, Orders: 1}, {Customers: -1}} {
		if err := wrong.check(); err == nil {
			t.Errorf("%+v is accepted", wrong)
		}
	}
}

func TestPasswordHash(t *testing.T) {
	t.Parallel()
	if err := bcrypt.CompareHashAndPassword([]byte(PasswordHash), []byte("secret")); err != nil {
		t.Error(err)
	}
}
