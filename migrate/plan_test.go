package migrate

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"strangler/capability"
)

// roomy is a server that lacks nothing.
var roomy = Server{Role: "mover", Database: "shop", Collation: Part{Name: "c C.UTF-8"}, Slots: 20, Origins: 20, OriginsBy: "max_replication_slots", Senders: 20, Places: 100, KeepSize: 1 << 30}

func TestJudgeServer(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		change  func(*Server)
		refused string // of message and mend
		noted   string
	}{
		{name: "nothing", change: func(*Server) {}, noted: "0 logical decoders of others (none)"},
		{name: "standby", change: func(s *Server) { s.Standby = true }, refused: "write the address of the primary"},
		{name: "pooler", change: func(s *Server) { s.Pooled = true }, refused: "past pgbouncer"},
		{name: "senders", change: func(s *Server) { s.SendersTaken = 18 }, refused: "18 of 20 WAL senders are taken; 3 are needed, one of them while verifying ALTER SYSTEM SET max_wal_senders = 28; -- then restart"},
		{name: "connections", change: func(s *Server) { s.PlacesTaken = 85 }, noted: "ALTER SYSTEM SET max_connections = 117; -- then restart"},
		{name: "slots", change: func(s *Server) { s.SlotsTaken = 17 }, noted: "ALTER SYSTEM SET max_replication_slots = 28; -- then restart"},
		{name: "log without bound", change: func(s *Server) { s.KeepSize = -1 }, noted: "'20GB'; SELECT pg_reload_conf();"},
		{name: "decoders", change: func(s *Server) {
			s.LogRate = 3 << 20
			s.Decoders = []Decoder{{Name: "lake", Active: true}, {Name: "dead", Retained: 5 << 30}, {Name: "strangler_orders_legacy"}}
		}, noted: "2 logical decoders of others (lake, dead (idle, keeps 5.0 GiB)), and one for this capability: each reads the whole log of the server, 3.0 MiB/s on average"},
		{name: "prepared", change: func(s *Server) {
			s.Waits = []Waiting{{Prepared: "it's", User: "xa", Database: "shop", Since: time.Unix(0, 0)}}
		}, noted: `prepared transaction "it's" of xa in database shop writes since 1970-01-01 00:00:00Z: a slot or a gate would wait for it now in database shop: COMMIT PREPARED or ROLLBACK PREPARED 'it''s';`},
		{name: "long", change: func(s *Server) {
			s.Waits = []Waiting{{PID: 17, User: "batch", Application: "nightly", Database: "other", Does: "active", Since: time.Unix(0, 0)}}
		}, noted: "process 17 of batch (nightly, active) in database other writes since 1970-01-01 00:00:00Z: a slot or a gate would wait for it now SELECT pg_terminate_backend(17);"},
		{name: "blind", change: func(s *Server) { s.Blind = true }, noted: "GRANT pg_read_all_stats TO mover;"},
		{name: "shared role", change: func(s *Server) { s.Sharing = []string{"", "shop"} }, noted: "others log in as mover, the mover's role (without a name, shop)"},
		{name: "old indexes", change: func(s *Server) { s.Collation = Part{Name: "c de_DE", Version: "2.36", Recorded: "2.28"} }, noted: "version 2.28 of c de_DE, and the system has 2.36: they may miss rows REINDEX DATABASE shop; ALTER DATABASE shop REFRESH COLLATION VERSION;"},
		{name: "large objects", change: func(s *Server) { s.LargeObjects = true }, noted: "large objects"},
	} {
		s := roomy
		test.change(&s)
		v := judgeServer(s, capability.Legacy, capability.CaptureWAL, "strangler_orders_", false, 10<<30)
		if got := said(v.obstacles); !strings.Contains(got, test.refused) || test.refused == "" && got != "" {
			t.Errorf("%s: refused: %q", test.name, got)
		}
		if got := said(v.notes); !strings.Contains(got, test.noted) {
			t.Errorf("%s: noted: %q", test.name, got)
		}
	}
	s := roomy
	s.SendersTaken, s.PlacesTaken = 19, 99
	if v := judgeServer(s, capability.Extracted, capability.CaptureWAL, "strangler_orders_", true, 10<<30); len(v.obstacles) > 0 || strings.Contains(said(v.notes), "must be free") {
		t.Errorf("a move that runs has its places: %+v", v)
	}
	s.SendersTaken, s.PlacesTaken, s.SlotsTaken, s.KeepSize = 19, 0, 20, -1
	s.Waits = []Waiting{{PID: 17}}
	if v := judgeServer(s, capability.Legacy, capability.CaptureTrigger, "strangler_orders_", false, 10<<30); len(v.obstacles) > 0 || len(v.notes) != 3 ||
		!strings.Contains(said(v.notes), "triggers write every changed row a second time") || !strings.Contains(said(v.notes), "a trigger or a gate would wait") {
		t.Errorf("triggers need nothing of the log: %+v", v)
	}
	if v := judgeServer(roomy, capability.Extracted, capability.CaptureWAL, "strangler_orders_", false, 10<<30); !strings.Contains(said(v.notes), "about 15.0 GiB must be free") {
		t.Errorf("disk: %+v", v)
	}
}

func said(remarks []Remark) string {
	var list []string
	for _, r := range remarks {
		list = append(list, r.Message+" "+r.Mend)
	}
	return strings.Join(list, "\n")
}

func TestCompareParts(t *testing.T) {
	t.Parallel()
	citext := Part{Kind: "extension", Name: "citext", Version: "1.6", Definition: "CREATE EXTENSION citext"}
	german := Part{Kind: "collation", Name: `public.german`, Version: "153.112", Recorded: "153.112", Definition: "CREATE COLLATION …"}
	system := Part{Kind: "collation", Name: `pg_catalog."de_DE"`, Version: "2.36", Recorded: "2.36"}
	later := func(p Part, version string) Part { p.Version, p.Recorded = version, version; return p }
	for _, test := range []struct {
		name           string
		here, there    []Part
		available      map[string]string
		making         bool
		refused, noted string
	}{
		{name: "nothing"},
		{name: "the same", here: []Part{citext, german}, there: []Part{german, citext}},
		{name: "will be made", here: []Part{citext, german}, available: map[string]string{"citext": "1.6"}, making: true},
		{name: "not needed", here: []Part{citext, system}},
		{name: "no such extension", here: []Part{citext}, making: true, refused: "extension citext 1.6 is needed, and the server of the extracted database has none install the package"},
		{name: "an older one", here: []Part{citext}, available: map[string]string{"citext": "1.4"}, making: true, noted: "will be 1.4"},
		{name: "no such collation of the system", here: []Part{system}, making: true, refused: `collation pg_catalog."de_DE" is not in the extracted database`},
		{name: "another version of it", here: []Part{system}, there: []Part{later(system, "2.28")}, noted: "version 2.36 on the legacy server and 2.28 on the extracted one: text may sort differently"},
		{name: "old indexes", here: []Part{{Kind: "collation", Name: "c", Version: "2", Recorded: "1"}}, there: []Part{{Kind: "collation", Name: "c", Version: "2", Recorded: "2"}}, noted: "of the legacy database were built with version 1, and the system has 2"},
	} {
		v := compareParts(test.here, test.there, test.available, test.making)
		if got := said(v.obstacles); !strings.Contains(got, test.refused) || test.refused == "" && got != "" {
			t.Errorf("%s: refused: %q", test.name, got)
		}
		if got := said(v.notes); !strings.Contains(got, test.noted) || test.noted == "" && got != "" {
			t.Errorf("%s: noted: %q", test.name, got)
		}
	}
}

func TestEstimate(t *testing.T) {
	t.Parallel()
	p := planner{doc: capability.Document{Data: &capability.Data{}}}
	if got := p.estimate(1_000_000, 400<<20); got != 10*time.Second {
		t.Errorf("at the speed that is assumed: %v", got)
	}
	p.doc.Data.Rate = 1000
	if got := p.estimate(1_000_000, 400<<20); got != 1000*time.Second {
		t.Errorf("at the speed of the document: %v", got)
	}
	if got := fmt.Sprint(size(1023), size(1024), size(3<<40), size(5000<<40)); got != "1023 B1.0 KiB3.0 TiB5000.0 TiB" {
		t.Error(got)
	}
}
