package migrate

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"strangler/capability"
)

// Connections that a mover opens at most, and those that a switch and its people
// need besides.
const placesNeeded = 16

// sendersNeeded are two streams' and a verification's, if both directions had the
// same server.
const sendersNeeded = 3

// examine asks both servers how they are set up, and for the code in both
// databases.
func (p *planner) examine(ctx context.Context, _, _ Database) error {
	for _, side := range capability.Sides {
		s, err := p.databases[side].Server(ctx)
		if err != nil {
			return err
		}
		p.servers[side] = s
		if p.code[side], err = p.databases[side].Code(ctx); err != nil {
			return err
		}
	}
	return nil
}

// settings judges both servers.
func (p *planner) settings(context.Context, Database, Database) error {
	for _, side := range capability.Sides {
		v := judgeServer(p.servers[side], side, p.captures[side].kind, p.slots(), p.plan.Begun, p.plan.Disk)
		for _, o := range v.obstacles {
			p.refuse(capability.Problem{Path: string(side) + " database", Message: o.Message, Mend: o.Mend})
		}
		for _, n := range v.notes {
			n.Side = side
			p.plan.Settings = append(p.plan.Settings, n)
		}
	}
	a, b := p.servers[capability.Legacy].Collation, p.servers[capability.Extracted].Collation
	if a.Name != b.Name || a.Version != b.Version {
		p.plan.Settings = append(p.plan.Settings, Remark{Message: fmt.Sprintf("text sorts by %s in the legacy database and by %s in the extracted one: answers that are ordered by text may differ", collation(a), collation(b))})
	}
	return nil
}

func collation(c Part) string { return strings.TrimSpace(c.Name + " " + c.Version) }

// slots are the names of the capability's own.
func (p *planner) slots() string {
	return "strangler_" + strings.ReplaceAll(p.doc.Name, "-", "_") + "_"
}

// judgeServer says what a server lacks for a stream from it, by that capture, and
// into it, and what is worth knowing of it. Own is how the names of the capability's slots
// begin; bytes is what will be copied.
func judgeServer(s Server, side capability.Side, kind capability.Capture, own string, begun bool, bytes int64) verdicts {
	var v verdicts
	v.refuse(s.Pooled, "write the address of the server itself into the document or config.yaml, past pgbouncer or its like",
		"the connection ends at a pooler: sessions, settings and replication do not pass through it")
	v.refuse(s.Standby, "write the address of the primary", "the server is a standby: it takes no writes")
	if !begun {
		free := s.Places - s.PlacesTaken
		v.note(free < placesNeeded, fmt.Sprintf("ALTER SYSTEM SET max_connections = %d; -- then restart the server", s.PlacesTaken+2*placesNeeded),
			"%d of %d connections are taken; the mover needs up to %d", s.PlacesTaken, s.Places, placesNeeded)
		v.origins(s, side)
	}
	waits := "a slot or a gate"
	if kind == capability.CaptureWAL {
		v.log(s, own, begun, bytes)
	} else {
		waits = "a trigger or a gate"
		v.note(true, "", "triggers write every changed row a second time, in the transaction that changes it, and keep it in the schema strangler until it is applied")
		v.note(true, "", "with triggers, a transaction that changes rows of a table cannot truncate or alter the same table afterwards")
	}
	if side == capability.Extracted {
		v.note(bytes > 0 && !begun, "", "about %s must be free on its disk (1.5 times the legacy tables with their indexes); free disk is not visible by SQL", size(bytes*3/2))
	} else {
		v.note(s.LargeObjects, "", "the database has large objects: none of them moves, and columns of type oid are refused")
	}
	for _, w := range s.Waits {
		what, mend := fmt.Sprintf("process %d of %s (%s, %s)", w.PID, w.User, w.Application, w.Does), fmt.Sprintf("SELECT pg_terminate_backend(%d);", w.PID)
		if w.Prepared != "" {
			what, mend = fmt.Sprintf("prepared transaction %q of %s", w.Prepared, w.User), fmt.Sprintf("in database %s: COMMIT PREPARED or ROLLBACK PREPARED '%s';", w.Database, strings.ReplaceAll(w.Prepared, "'", "''"))
		}
		v.note(true, mend, "%s in database %s writes since %s: %s would wait for it now", what, w.Database, w.Since.UTC().Format("2006-01-02 15:04:05Z"), waits)
	}
	v.note(s.Blind, fmt.Sprintf("GRANT pg_read_all_stats TO %s;", s.Role), "role %s does not see what other sessions do, so long transactions cannot be named here", s.Role)
	v.note(len(s.Sharing) > 0, "CREATE ROLE strangler_mover LOGIN REPLICATION PASSWORD '…'; -- and what strangler data plan asks for then", "others log in as %s, the mover's role (%s): nothing but a setting tells them from the mover at a guard", s.Role, named(s.Sharing))
	v.note(s.Collation.Recorded != "" && s.Collation.Recorded != s.Collation.Version, fmt.Sprintf("REINDEX DATABASE %s; ALTER DATABASE %s REFRESH COLLATION VERSION;", s.Database, s.Database),
		"its indexes were built with version %s of %s, and the system has %s: they may miss rows", s.Collation.Recorded, s.Collation.Name, s.Collation.Version)
	return v
}

// origins says whether a server has room for the replication origins under which the
// mover writes into it. Those that have been used once take their place until they are dropped.
func (v *verdicts) origins(s Server, side capability.Side) {
	least := 2 // a stream's first session, and a repair
	if side == capability.Extracted {
		least += Workers
	}
	most, free := least+Sessions-1, s.Origins-s.OriginsTaken
	mend := fmt.Sprintf("ALTER SYSTEM SET %s = %d; -- then restart the server", s.OriginsBy, s.OriginsTaken+most+4)
	v.refuse(free < least, mend, "%d of %d replication origins (%s) are taken; the mover writes under %d at least", s.OriginsTaken, s.Origins, s.OriginsBy, least)
	v.note(free >= least && free < most, mend, "%d of %d replication origins (%s) are taken; with fewer than %d free ones a stream that is behind catches up with fewer than %d sessions", s.OriginsTaken, s.Origins, s.OriginsBy, most, Sessions)
}

// log says what a server lacks for a stream from its log.
func (v *verdicts) log(s Server, own string, begun bool, bytes int64) {
	if !begun {
		v.refuse(s.Senders >= sendersNeeded && s.Senders-s.SendersTaken < sendersNeeded, fmt.Sprintf("ALTER SYSTEM SET max_wal_senders = %d; -- then restart the server", s.SendersTaken+10),
			"%d of %d WAL senders are taken; %d are needed, one of them while verifying", s.SendersTaken, s.Senders, sendersNeeded)
		v.note(s.Slots-s.SlotsTaken >= 2 && s.Slots-s.SlotsTaken < 4, fmt.Sprintf("ALTER SYSTEM SET max_replication_slots = %d; -- then restart the server", s.Slots+8),
			"%d of %d replication slots are taken: there is no room for another capability", s.SlotsTaken, s.Slots)
	}
	v.note(s.KeepSize < 0, fmt.Sprintf("ALTER SYSTEM SET max_slot_wal_keep_size = '%dGB'; SELECT pg_reload_conf();", max(10, 2*bytes>>30)),
		"a slot that nobody reads keeps the log without bound (max_slot_wal_keep_size is -1), until the disk is full")
	v.decoders(s, own)
}

// decoders tells who else reads the log, and what one more costs.
func (v *verdicts) decoders(s Server, own string) {
	others := slices.DeleteFunc(slices.Clone(s.Decoders), func(d Decoder) bool { return strings.HasPrefix(d.Name, own) })
	cost := "each reads the whole log of the server"
	if s.LogRate > 0 {
		cost += fmt.Sprintf(", %s/s on average", size(int64(s.LogRate)))
	}
	list := make([]string, len(others))
	for i, d := range others {
		list[i] = d.Name
		if !d.Active {
			list[i] += fmt.Sprintf(" (idle, keeps %s)", size(d.Retained))
		}
	}
	v.note(true, "", "%d logical decoders of others (%s), and one for this capability: %s", len(others), listed(list), cost)
}

func named(applications []string) string {
	list := slices.Clone(applications)
	for i, a := range list {
		if a == "" {
			list[i] = "without a name"
		}
	}
	return strings.Join(list, ", ")
}

// size writes bytes for people.
func size(n int64) string {
	value, unit := float64(n), "B"
	for _, next := range []string{"KiB", "MiB", "GiB", "TiB"} {
		if value < 1024 {
			break
		}
		value, unit = value/1024, next
	}
	if unit == "B" {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", value, unit)
}
