package proxy

import "testing"

// RFC 9110, section 7.6.2.
func TestConformMaxForwards(t *testing.T) {
	conform(t, func(t *testing.T, c pairing) {
		h, got := keeper()
		r := c.start(t, h)
		for _, row := range []struct {
			method, most, arrives string // "": nothing arrives
			status                int
		}{
			{"OPTIONS", "0", "", 204}, {"TRACE", "0", "", 501}, {"OPTIONS", "00", "", 204},
			{"OPTIONS", "1", "0", 200}, {"TRACE", "10", "9", 200},
			{"GET", "0", "0", 200}, {"OPTIONS", "-1", "-1", 200}, {"OPTIONS", "many", "many", 200},
		} {
			req := r.request(row.method, "/api/orders/1", nil, "Max-Forwards", row.most)
			a, _ := r.send(req)
			if a.err != nil || a.status != row.status {
				t.Errorf("%s %s: %d %v %s", row.method, row.most, a.status, a.err, a.body)
			} else if row.arrives != "" {
				if up := <-got; up.Header.Get("Max-Forwards") != row.arrives {
					t.Errorf("%s %s arrived as %v", row.method, row.most, up.Header)
				}
			} else if len(got) > 0 {
				t.Errorf("%s %s was forwarded", row.method, row.most)
			}
		}
	})
}
