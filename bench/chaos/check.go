package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/jackc/pgx/v5"
)

// history is what the databases have: each register, and every write by its id.
type history struct {
	values map[int]int64
	log    map[string]logged
}

type logged struct {
	order           int
	previous, value int64
	times           int
}

// contents is a table's rows as one text.
var contents = map[string]string{
	"orders":   `SELECT coalesce(string_agg(o::text, E'\n' ORDER BY id), '') FROM orders o`,
	"counters": `SELECT coalesce(string_agg(c::text, E'\n' ORDER BY id), '') FROM counters c`,
	"writes":   `SELECT count(*) || ' rows, ' || coalesce(md5(string_agg(w::text, E'\n' ORDER BY seq)), '') FROM writes w`,
}

// equal compares all tables of both sides.
func equal(ctx context.Context, sides [2]*pgx.Conn) error {
	for _, table := range []string{"orders", "counters", "writes"} {
		var texts [2]string
		for i, conn := range sides {
			if err := conn.QueryRow(ctx, contents[table]).Scan(&texts[i]); err != nil {
				return err
			}
		}
		if texts[0] != texts[1] {
			return fmt.Errorf("%s differs:\nlegacy:    %.200s\nextracted: %.200s", table, texts[0], texts[1])
		}
	}
	return nil
}

// read takes the history from one side; the log only of what was written since the last time.
func readHistory(ctx context.Context, conn *pgx.Conn, ids []string) (h history, problems []string, err error) {
	h = history{values: map[int]int64{}, log: map[string]logged{}}
	rows, err := conn.Query(ctx, `SELECT id, value FROM orders`)
	if err != nil {
		return h, nil, err
	}
	var order int
	var value int64
	if _, err := pgx.ForEachRow(rows, []any{&order, &value}, func() error { h.values[order] = value; return nil }); err != nil {
		return h, nil, err
	}
	rows, err = conn.Query(ctx, `SELECT id, min(order_id), min(previous), min(value), count(*) FROM writes WHERE id = ANY ($1) GROUP BY id`, ids)
	if err != nil {
		return h, nil, err
	}
	var id string
	var l logged
	if _, err := pgx.ForEachRow(rows, []any{&id, &l.order, &l.previous, &l.value, &l.times}, func() error { h.log[id] = l; return nil }); err != nil {
		return h, nil, err
	}
	rows, err = conn.Query(ctx, `SELECT format('order %s was written %s times by its counter, and %s times by the log', c.id, c.n, coalesce(w.n, 0))
		FROM counters c LEFT JOIN (SELECT order_id, count(*) AS n FROM writes GROUP BY order_id) w ON w.order_id = c.id WHERE c.n <> coalesce(w.n, 0)`)
	if err != nil {
		return h, nil, err
	}
	problems, err = pgx.CollectRows(rows, pgx.RowTo[string])
	return h, problems, err
}

// judge holds a record against the databases at rest. before are the registers when it began.
func judge(record []operation, before map[int]int64, after history, rested time.Time) (problems []string) {
	byOrder := map[int][]porcupine.Operation{}
	for _, o := range record {
		in := input{write: o.id != "", value: o.value}
		done := porcupine.Operation{ClientId: o.client, Input: in, Output: o.answer.Value, Call: o.start.UnixNano(), Return: o.end.UnixNano()}
		l, is := after.log[o.id]
		switch {
		case o.id == "" && !o.ok:
			continue // a read without an answer says nothing
		case o.id == "": // the answer is what it says
		case is && l.times > 1:
			problems = append(problems, fmt.Sprintf("write %s is in the log %d times", o.id, l.times))
		case o.ok && !is:
			problems = append(problems, fmt.Sprintf("write %s of order %d was acknowledged at %s and is lost", o.id, o.order, o.end.Format(time.StampMilli)))
			continue
		case o.ok && (l.previous != o.answer.Value || l.value != o.value || l.order != o.order):
			problems = append(problems, fmt.Sprintf("write %s was acknowledged with %d before it, and the log has %+v", o.id, o.answer.Value, l))
		case !o.ok && !is:
			continue // it has not happened, and at rest nothing is on its way
		case !o.ok: // it has, at some time
			done.Output, done.Return = l.previous, rested.UnixNano()
		}
		byOrder[o.order] = append(byOrder[o.order], done)
	}
	for order, list := range byOrder {
		list = append(list, porcupine.Operation{ClientId: clients, Input: input{}, Output: after.values[order], Call: rested.UnixNano() + 1, Return: rested.UnixNano() + 2})
		if got := porcupine.CheckOperationsTimeout(register(before[order]), list, 20*time.Second); got != porcupine.Ok {
			problems = append(problems, fmt.Sprintf("the history of order %d is not linearizable (%s):%s", order, got, told(list)))
		}
	}
	slices.Sort(problems)
	return problems
}

type input struct {
	write bool
	value int64
}

// register is one that is read, and swapped for what was in it.
func register(initial int64) porcupine.Model {
	return porcupine.Model{
		Init: func() any { return initial },
		Step: func(state, in, out any) (bool, any) {
			i := in.(input)
			if i.write {
				return out == state, i.value
			}
			return out == state, state
		},
	}
}

// told is a history for people, the last of it.
func told(list []porcupine.Operation) (text string) {
	slices.SortFunc(list, func(a, b porcupine.Operation) int { return int(a.Call - b.Call) })
	for _, o := range list[max(0, len(list)-30):] {
		i := o.Input.(input)
		verb := fmt.Sprintf("reads %d", o.Output)
		if i.write {
			verb = fmt.Sprintf("puts %d for %d", i.value, o.Output)
		}
		text += fmt.Sprintf("\n%s to %s: client %d %s", time.Unix(0, o.Call).Format("05.000"), time.Unix(0, o.Return).Format("05.000"), o.ClientId, verb)
	}
	return text
}
