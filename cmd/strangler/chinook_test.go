package main

import (
	"context"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"

	"strangler/capability"
)

// TestChinook moves tables with mixed-case names to snake case, while they are
// written.
func TestChinook(t *testing.T) {
	t.Parallel()
	file := testdata(t, "chinook.sql")
	h := newHouse(t, "invoices", `  tables:
    - table: Invoice
      as: invoices
      columns: {InvoiceId: invoice_id, CustomerId: customer_id, InvoiceDate: invoice_date, BillingAddress: billing_address, BillingCity: billing_city,
        BillingState: billing_state, BillingCountry: billing_country, BillingPostalCode: billing_postal_code, Total: total}
    - table: InvoiceLine
      as: invoice_lines
      columns: {InvoiceLineId: invoice_line_id, InvoiceId: invoice_id, TrackId: track_id, UnitPrice: unit_price, Quantity: quantity}
  border:
    - {constraint: FK_InvoiceCustomerId, at_switch: keep}
    - {constraint: FK_InvoiceLineTrackId, at_switch: keep}
`)
	h.psql(capability.Legacy, file)
	journey(h, []*writer{chinookWriter(h, 1), chinookWriter(h, 2)},
		`SELECT row("InvoiceId", "CustomerId", "InvoiceDate", "BillingAddress", "BillingCity", "BillingState", "BillingCountry", "BillingPostalCode", "Total")::text FROM public."Invoice"`,
		`SELECT row(invoice_id, customer_id, invoice_date, billing_address, billing_city, billing_state, billing_country, billing_postal_code, total)::text FROM public.invoices`,
		`SELECT row("InvoiceLineId", "InvoiceId", "TrackId", "UnitPrice", "Quantity")::text FROM public."InvoiceLine"`,
		`SELECT row(invoice_line_id, invoice_id, track_id, unit_price, quantity)::text FROM public.invoice_lines`)
}

// chinookWriter writes invoices with a line, corrects them, renumbers lines, and
// takes every third back.
func chinookWriter(h *house, number int) *writer {
	w := &writer{house: h, number: number}
	w.change = func(ctx context.Context, tx pgx.Tx, side capability.Side, n int) error {
		id := 1_000_000*number + n
		script := fmt.Sprintf(`
			INSERT INTO public."Invoice" ("InvoiceId", "CustomerId", "InvoiceDate", "BillingCity", "Total") VALUES (%[1]d, 2, 'infinity', E'Köln\n%[1]d', 1.90);
			INSERT INTO public."InvoiceLine" VALUES (%[1]d, %[1]d, 1, 0.99, 1);
			UPDATE public."Invoice" SET "Total" = "Total" + 0.10, "InvoiceDate" = '2026-11-23 10:00:00.000001', "BillingState" = '' WHERE "InvoiceId" = %[1]d;
			UPDATE public."InvoiceLine" SET "InvoiceLineId" = -%[1]d WHERE "InvoiceLineId" = %[1]d`, id)
		back := fmt.Sprintf(`; DELETE FROM public."InvoiceLine" WHERE "InvoiceId" = %[1]d; DELETE FROM public."Invoice" WHERE "InvoiceId" = %[1]d`, id)
		if side == capability.Extracted {
			script = fmt.Sprintf(`
			INSERT INTO public.invoices (invoice_id, customer_id, invoice_date, billing_city, total) VALUES (%[1]d, 2, 'infinity', E'Köln\n%[1]d', 1.90);
			INSERT INTO public.invoice_lines VALUES (%[1]d, %[1]d, 1, 0.99, 1);
			UPDATE public.invoices SET total = total + 0.10, invoice_date = '2026-11-23 10:00:00.000001', billing_state = '' WHERE invoice_id = %[1]d;
			UPDATE public.invoice_lines SET invoice_line_id = -%[1]d WHERE invoice_line_id = %[1]d`, id)
			back = fmt.Sprintf(`; DELETE FROM public.invoice_lines WHERE invoice_id = %[1]d; DELETE FROM public.invoices WHERE invoice_id = %[1]d`, id)
		}
		if n%3 == 0 {
			script += back
		}
		_, err := tx.Conn().PgConn().Exec(ctx, script).ReadAll()
		return err
	}
	return w
}
