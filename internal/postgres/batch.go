package postgres

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"strangler/capability"
	"strangler/migrate"
)

// batch sends everything at once and then checks that every statement has found
// its row.
func (s *applySession) batch(ctx context.Context, changes []migrate.Change, position *capability.Position) error {
	steps, err := s.steps(ctx, changes, position)
	if err != nil {
		return err
	}
	pipeline := s.conn.PgConn().StartPipeline(ctx)
	for _, step := range steps {
		if step.prepared != "" {
			pipeline.SendQueryPrepared(step.prepared, step.params, nil, nil)
		} else {
			pipeline.SendQueryParams(step.sql, step.params, nil, nil, nil)
		}
	}
	err = pipeline.Sync()
	for _, step := range steps {
		if err != nil {
			break
		}
		err = step.check(pipeline)
	}
	if closed := pipeline.Close(); err == nil && closed != nil {
		err = fmt.Errorf("apply changes to %s database: %w", s.database.side, closed)
	}
	return err
}

// step is one statement of a batch.
type step struct {
	sql      string
	prepared string // its statement's name, if any
	params   [][]byte
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

func (s *applySession) steps(ctx context.Context, changes []migrate.Change, position *capability.Position) ([]step, error) {
	if len(s.prepared) > preparedMost {
		clear(s.prepared)
		if err := s.conn.DeallocateAll(ctx); err != nil {
			return nil, fmt.Errorf("drop prepared statements: %w", err)
		}
	}
	steps := make([]step, 0, len(changes)+2)
	if !s.open {
		steps = append(steps, step{sql: "BEGIN", judge: s.plain})
	}
	for _, c := range changes {
		if c.Kind == migrate.ChangeTruncate {
			steps = append(steps, step{sql: s.truncate(c), judge: s.plain})
			continue
		}
		w := s.writers[c.Table]
		sql, params := w.statement(c)
		name, err := s.prepare(ctx, sql)
		if err != nil {
			return nil, s.explain(c, err)
		}
		steps = append(steps, step{prepared: name, params: params, judge: func(affected int64, err error) error { return s.judgeRow(c, affected, err) }})
	}
	if position != nil {
		steps = append(steps, s.progressStep(*position))
	}
	return steps, nil
}

func (s *applySession) truncate(c migrate.Change) string {
	names := make([]string, len(c.Tables))
	for i, t := range c.Tables {
		names[i] = s.writers[t].table
	}
	return "TRUNCATE " + strings.Join(names, ", ")
}

func (s *applySession) progressStep(position capability.Position) step {
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

// prepare makes a statement once per session. It sends nothing where it has.
func (s *applySession) prepare(ctx context.Context, sql string) (string, error) {
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
