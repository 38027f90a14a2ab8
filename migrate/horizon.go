package migrate

import (
	"context"
	"fmt"

	"strangler/capability"
)

// A backfill whose snapshot is lost copies what remains under a new one. Then the
// target holds rows from two moments, or more, none of them later than the
// horizon: a position behind everything that the newest snapshot has seen. The
// stream begins where the first snapshot was taken. Until it has passed the
// horizon nothing that it brings is skipped, and nothing is a conflict: a change
// is made true for its key, whatever the target has there (an early change).
//
// Why that ends in the source's rows. Let t be the place in the stream, and take
// one key k. Two things hold at every t, from the end of the copy on:
//
//  1. If the target has a row k, each of its values is what the source has, or
//     had, in its row k at some moment from t to the horizon, never before t.
//  2. If the source has a row k at t and the target has none, then the stream has
//     a change of k between t and the horizon.
//
// At the horizon no moment and no change is left, so that the two are equal. They
// hold at the beginning: every snapshot is from the stream's first moment or
// later (1), and a row that has no change stays in its place on disk, so that it
// lies in a range that some snapshot has copied (2); a table that is rewritten,
// which moves rows without a change, is copied anew. It does not matter which of
// two copied versions of a key stays. And every early change keeps them:
//
//   - A whole row, inserted or updated, replaces whatever is there. A delete
//     deletes what is there. A truncation empties the table: what was copied from
//     behind it comes again, because its inserts are behind it in the stream.
//   - An update without some large values (they did not change, and were not sent)
//     sets the others. What it leaves out is the source's present or future value
//     by (1), and the update changes neither.
//   - If there is no row to update, the source is asked for it: its row as of now,
//     which is behind t as (1) wants it. So now is the new horizon. If the source
//     has none, its delete lies between t and now, as (2) wants it. That now is
//     behind t is not given: a log tells of a transaction before the source shows
//     it. So the source is asked when it shows all transactions of the group. Any
//     before them that had this row has let go of it to one of them, and is shown.
//   - A change of the key deletes the old one and is made true for the new one.
//     Values that were not sent are never taken from the row of the old key: it may
//     be another row by now, which has taken that key behind t. They are those of
//     the target's row of the new key, or the source is asked.
//
// What holds rows against one another by more than their key, such as a unique
// index, is not there before the horizon (see aside.go): rows from different
// moments may break it. From the horizon on, every change has exactly its row, and
// a missing or surplus one is a ConflictError.

// Fetcher is a source that is asked for the rows of single keys.
type Fetcher interface {
	ByKey(ctx context.Context, from Selection, key []KeyColumn, keys [][]string) ([]Found, error)
	// Heartbeat returns a position behind everything that ByKey has shown, which is
	// durable then: a source that falls over must not forget what the target has of it.
	Heartbeat(ctx context.Context) (capability.Position, error)
	// Visible blocks until ByKey sees these transactions.
	Visible(ctx context.Context, transactions []uint32) error
}

// asked is a Fetcher: the rows of a database, and positions as its changes have them.
type asked struct {
	Rows
	Capture
}

// EarlySession is the part of a Session that writes early changes.
type EarlySession interface {
	// ApplyEarly makes changes true for their keys, in their order, in the
	// transaction that the next Commit ends. It returns those that lack values for
	// a row that is not there, with the key that the row has after them.
	ApplyEarly(ctx context.Context, changes []Change) (missing []Change, err error)
	// Fill inserts whole rows, where none has their key, in the same transaction,
	// and with them raises the horizon of the move.
	Fill(ctx context.Context, rows []Change, horizon capability.Position) error
}

// early sends a group's changes from before the horizon. What the target lacks is
// asked for when all are sent: whatever of it a later one of them has brought or
// deleted is older than the source's answer.
func (a *applier) early(ctx context.Context, g *group) error {
	missing, err := a.crew.lead.ApplyEarly(ctx, g.pending)
	if err != nil || len(missing) == 0 {
		return err
	}
	if err := a.fetcher.Visible(ctx, g.transactions); err != nil {
		return fmt.Errorf("fetch rows that came without their large values: %w", err)
	}
	var rows []Change
	for table, mapping := range Joined(a.shapes.mappings) {
		var keys [][]string
		asked := map[string]bool{}
		for _, c := range missing {
			if packed := packKey(c.Table, c.Key); c.Table == table && !asked[packed] {
				asked[packed] = true
				keys = append(keys, texts(c.Key))
			}
		}
		if len(keys) == 0 {
			continue
		}
		found, err := a.fetcher.ByKey(ctx, mapping.Source(), keyColumns(mapping.FromKey, mapping.From), keys)
		if err != nil {
			return fmt.Errorf("fetch rows that came without their large values: %w", err)
		}
		for _, f := range found {
			if f.Version == "" {
				continue // gone there: its delete is on its way
			}
			row := Change{Kind: ChangeInsert, Table: table, Values: make([]Value, len(f.Values))}
			for i, v := range f.Values {
				row.Values[i] = Value{Text: v}
			}
			rows = append(rows, row)
		}
	}
	horizon, err := a.fetcher.Heartbeat(ctx) // after the rows were read
	if err != nil {
		return err
	}
	if err := a.crew.lead.Fill(ctx, rows, horizon); err != nil {
		return err
	}
	a.standing.raise(horizon)
	return nil
}

func texts(key [][]byte) []string {
	list := make([]string, len(key))
	for i, v := range key {
		list[i] = string(v)
	}
	return list
}
