package check

import "github.com/jackc/pgx/v5/pgxpool"

// Side names one of the two databases.
type Side string

// The two sides.
const (
	Legacy    Side = "legacy"
	Extracted Side = "extracted"
)

func (d *Databases) of(side Side) *pgxpool.Pool {
	if side == Extracted {
		return d.extracted
	}
	return d.legacy
}

// lines is the table of order lines, which the two sides call differently.
func (side Side) lines() string {
	if side == Extracted {
		return "items"
	}
	return "order_lines"
}
