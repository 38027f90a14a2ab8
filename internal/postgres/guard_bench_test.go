package postgres

import (
	"fmt"
	"testing"

	"strangler/capability"
)

// BenchmarkGuard measures what the guard costs the mover per statement, against
// the same statements without a guard.
func BenchmarkGuard(b *testing.B) {
	w := newWorld(b, nil)
	conn := w.mover(capability.Extracted, "orders:0")
	_, err := conn.Exec(b.Context(), `INSERT INTO public.orders SELECT i, '' FROM generate_series(1, 1000) i; CREATE TABLE public.free AS TABLE public.orders; ALTER TABLE public.free ADD PRIMARY KEY (id)`)
	w.must(err)
	for _, table := range []string{"orders", "free"} {
		b.Run(table, func(b *testing.B) {
			for b.Loop() {
				_, err := conn.Exec(b.Context(), fmt.Sprintf(`DO $$ BEGIN FOR i IN 1..1000 LOOP UPDATE public.%s SET note = 'x' WHERE id = i; END LOOP; END $$`, table))
				w.must(err)
			}
		})
	}
}
