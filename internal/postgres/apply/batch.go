package apply

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"strangler/capability"
	"strangler/migrate"
)

// batch sends everything at once and then checks that every statement has found
// its rows. Changes that do not fit together are tried one by one.
func (s *Session) batch(ctx context.Context, changes []migrate.Change, position *capability.Position) error {
	if len(changes) < arrangeLeast {
		return s.exchange(ctx, singly(changes), position)
	}
	back, release := "ROLLBACK", ""
	if s.open { // earlier pieces of a large transaction must not be lost
		if err := s.say(ctx, "SAVEPOINT bulk"); err != nil {
			return err
		}
		back, release = "ROLLBACK TO bulk", "RELEASE bulk"
	}
	err := s.exchange(ctx, arrange(s.writers, changes), position)
	var conflict *migrate.ConflictError
	if errors.Is(err, errUneven) || errors.As(err, &conflict) {
		if err := s.say(ctx, back); err != nil {
			return err
		}
		err = s.exchange(ctx, singly(changes), position)
	}
	if err != nil || release == "" {
		return err
	}
	return s.say(ctx, release)
}

// singly is a stroke for each change.
func singly(changes []migrate.Change) []stroke {
	strokes := make([]stroke, len(changes))
	for i, c := range changes {
		strokes[i] = stroke{kind: c.Kind, table: c.Table, changes: []migrate.Change{c}}
	}
	return strokes
}

// say executes a statement without parameters or result.
func (s *Session) say(ctx context.Context, sql string) error {
	_, err := s.conn.PgConn().Exec(ctx, sql).ReadAll()
	return s.plain(0, err)
}

// exchange sends the statements of a batch in one go.
func (s *Session) exchange(ctx context.Context, strokes []stroke, position *capability.Position) error {
	steps, err := s.steps(ctx, strokes, position)
	if err != nil {
		return err
	}
	return s.pipe(ctx, steps)
}

// pipe sends statements in one go, and reads what came of each.
func (s *Session) pipe(ctx context.Context, steps []step) error {
	pipeline := s.conn.PgConn().StartPipeline(ctx)
	for _, step := range steps {
		if step.prepared != "" {
			pipeline.SendQueryPrepared(step.prepared, step.params, step.formats, nil)
		} else {
			pipeline.SendQueryParams(step.sql, step.params, nil, nil, nil)
		}
	}
	err := pipeline.Sync()
	for _, step := range steps {
		if err != nil {
			break
		}
		err = step.check(pipeline)
	}
	if closed := pipeline.Close(); err == nil && closed != nil {
		err = fmt.Errorf("apply changes to %s database: %w", s.side, closed)
	}
	return err
}

// step is one statement of a batch.
type step struct {
	sql      string
	prepared string // its statement's name, if any
	params   [][]byte
	formats  []int16 // of the parameters; nil: text
	judge    func(affected int64, err error) error
}

func (p step) check(pipeline *pgconn.Pipeline) error {
	results, err := pipeline.GetResults()
	if err != nil {
		return p.judge(0, err)
	}
	reader, ok := results.(*pgconn.ResultReader)
	if !ok {
		return fmt.Errorf("apply changes: unexpected answer %T", results)
	}
	tag, err := reader.Close()
	return p.judge(tag.RowsAffected(), err)
}

// opened puts a BEGIN before statements that open the transaction.
func (s *Session) opened(steps []step) []step {
	if s.open {
		return steps
	}
	return slices.Insert(steps, 0, step{sql: "BEGIN", judge: s.plain})
}

func (s *Session) steps(ctx context.Context, strokes []stroke, position *capability.Position) ([]step, error) {
	if err := s.forget(ctx); err != nil {
		return nil, err
	}
	steps := s.opened(make([]step, 0, len(strokes)+2))
	for _, k := range strokes {
		if k.kind == migrate.ChangeTruncate {
			steps = append(steps, s.truncate(k.changes[0])...)
			continue
		}
		next, err := s.step(ctx, k)
		if err != nil {
			return nil, err
		}
		steps = append(steps, next)
	}
	if position != nil {
		steps = append(steps, s.progressStep(*position))
	}
	return steps, nil
}

func (s *Session) step(ctx context.Context, k stroke) (step, error) {
	c := k.changes[0]
	w := s.writers[k.table]
	if k.bulk() {
		sql, params := w.bulk(k.kind, k.changes)
		name, err := s.prepare(ctx, sql)
		if err != nil {
			return step{}, s.judgeBulk(0, 0, err)
		}
		return step{prepared: name, params: params, formats: binaries(len(params)),
			judge: func(affected int64, err error) error { return s.judgeBulk(len(k.changes), affected, err) }}, nil
	}
	sql, params := w.Statement(c)
	name, err := s.prepare(ctx, sql)
	if err != nil {
		return step{}, s.explain(c, err)
	}
	return step{prepared: name, params: params, judge: func(affected int64, err error) error { return s.judgeRow(c, affected, err) }}, nil
}

// truncate empties tables together. Of a table that holds rows of others besides,
// they stay; and then rows of all of them are deleted, because PostgreSQL does not
// truncate one that a table which stays refers to.
func (s *Session) truncate(c migrate.Change) []step {
	names, deletes := make([]string, len(c.Tables)), make([]step, len(c.Tables))
	guarded := false
	for i, t := range c.Tables {
		w := s.writers[t]
		names[i] = w.table
		guarded = guarded || w.mapping.Guard != nil
		deletes[i] = step{sql: "DELETE FROM " + w.table + " WHERE true" + w.guard(), judge: s.plain}
	}
	if guarded {
		return deletes
	}
	return []step{{sql: "TRUNCATE " + strings.Join(names, ", "), judge: s.plain}}
}

func (s *Session) progressStep(position capability.Position) step {
	p := s.progress
	return step{
		sql:    `UPDATE strangler.progress SET position = $1::text::pg_lsn, updated_at = clock_timestamp() WHERE capability = $2::text AND source = $3::text AND fence = $4::bigint`,
		params: [][]byte{[]byte(position.String()), []byte(p.Capability), []byte(p.From), fmt.Append(nil, p.Fence)},
		judge: func(affected int64, err error) error {
			if err != nil || affected == 1 {
				return s.plain(affected, err)
			}
			return &migrate.HaltError{
				Reason: fmt.Sprintf("another controller has taken over the stream of %s from %s", p.Capability, p.From),
				Mend:   "nothing: it is the one that goes on",
			}
		},
	}
}

// forget drops the prepared statements where there are too many. Before a batch
// only: its steps name them.
func (s *Session) forget(ctx context.Context) error {
	if len(s.prepared) <= preparedMost {
		return nil
	}
	clear(s.prepared)
	if err := s.conn.DeallocateAll(ctx); err != nil {
		return fmt.Errorf("drop prepared statements: %w", err)
	}
	return nil
}

// prepare makes a statement once per session. It sends nothing where it has.
func (s *Session) prepare(ctx context.Context, sql string) (string, error) {
	if name, ok := s.prepared[sql]; ok {
		return name, nil
	}
	name := fmt.Sprintf("apply_%d", len(s.prepared))
	if _, err := s.conn.PgConn().Prepare(ctx, name, sql, nil); err != nil {
		return "", err
	}
	s.prepared[sql] = name
	return name, nil
}
