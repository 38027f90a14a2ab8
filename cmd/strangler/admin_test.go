package main

import (
	"net/http"
	"os"
	"testing"
)

// The admin address answers to the names that somebody who means it uses, and to no
// other that a web page could have pointed at it.
func TestAdminNames(t *testing.T) {
	t.Parallel()
	dir, _, admin := trafficHouse(t, "admin_names: [strangler.internal]\nlog: {access: false}\n")
	(&house{t: t, dir: dir, name: "orders"}).up()
	machine, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for host, want := range map[string]int{admin: 200, "localhost": 200, "strangler.internal:8090": 200, machine: 200, "evil.example": 403} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+admin+"/api/capabilities", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = host
		res, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("under the name %s: %d", host, res.StatusCode)
		}
	}
}
