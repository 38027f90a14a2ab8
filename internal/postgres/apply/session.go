// Package apply writes the changes of a stream into a target: it groups them into
// few statements, sends those in one go, and holds each to exactly one row.
package apply

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"strangler/capability"
	"strangler/internal/postgres/quote"
	"strangler/migrate"
)

// guardRefused is what a guard raises when it does not know the session's epoch.
const guardRefused = "P0S01"

// guardTries bounds how often one batch is sent again because the gate changed
// while it was under way.
const guardTries = 3

// preparedMost is when a session drops its prepared statements: updates that
// leave out unchanged values come in many forms.
const preparedMost = 1000

// Session is what writes the changes of one source. One
// goroutine uses it.
type Session struct {
	conn     *pgx.Conn
	side     capability.Side // that conn leads to
	progress migrate.Progress
	writers  []*Writer
	prepared map[string]string // SQL to statement name
	open     bool              // a transaction is
}

// Open makes a session of a connection that has the mover's settings, past the
// guards and under the origin of what it will write. The caller closes the
// connection if that fails, and the session if not.
func Open(ctx context.Context, conn *pgx.Conn, side capability.Side, progress migrate.Progress, mappings []migrate.Mapping) (*Session, error) {
	writers, err := NewWriters(ctx, conn, mappings)
	if err != nil {
		return nil, err
	}
	return &Session{conn: conn, side: side, progress: progress, writers: writers, prepared: map[string]string{}}, nil
}

// PassGuards shows the guards the epoch that the gate has now. A capability
// without a gate has no guards either.
func PassGuards(ctx context.Context, conn *pgx.Conn, name string) error {
	_, err := conn.Exec(ctx, `SELECT set_config('strangler.mover', capability || ':' || epoch, false) FROM strangler.gate WHERE capability = $1`, name)
	if err != nil {
		return fmt.Errorf("read gate of %s: %w", name, err)
	}
	return nil
}

// NewWriters asks the target for the indexes of the tables.
func NewWriters(ctx context.Context, conn *pgx.Conn, mappings []migrate.Mapping) ([]*Writer, error) {
	writers := make([]*Writer, len(mappings))
	for i, m := range mappings {
		equals, err := ForeignEquals(ctx, conn, m.To)
		if err != nil {
			return nil, err
		}
		exclusion, ordered, err := exclusions(ctx, conn, m)
		if err != nil {
			return nil, err
		}
		writers[i] = newWriter(m, equals, ordered)
		writers[i].exclusion = exclusion
	}
	return writers, nil
}

// ForeignEquals finds the key columns whose equality is not PostgreSQL's own,
// and the schema that its operator is in.
func ForeignEquals(ctx context.Context, conn *pgx.Conn, table migrate.Table) (map[string]string, error) {
	rows, err := conn.Query(ctx, `
		SELECT a.attname, n.nspname
		FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid
		CROSS JOIN unnest(i.indkey::int2[], i.indclass::oid[]) AS k(attnum, opclass)
		JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
		JOIN pg_opclass c ON c.oid = k.opclass
		JOIN pg_amop o ON o.amopfamily = c.opcfamily AND o.amoplefttype = c.opcintype AND o.amoprighttype = c.opcintype AND o.amopstrategy = 3
		JOIN pg_operator p ON p.oid = o.amopopr
		JOIN pg_namespace n ON n.oid = p.oprnamespace
		WHERE i.indrelid = $1::text::regclass AND CASE WHEN $2::text = '' THEN i.indisprimary ELSE x.relname = $2::text END AND n.nspname <> 'pg_catalog'`,
		quote.Relation(table.Relation), table.KeyIndex)
	if err != nil {
		return nil, fmt.Errorf("read key of %s: %w", table.Relation, err)
	}
	equals := map[string]string{}
	var column, schema string
	if _, err := pgx.ForEachRow(rows, []any{&column, &schema}, func() error { equals[column] = schema; return nil }); err != nil {
		return nil, fmt.Errorf("read key of %s: %w", table.Relation, err)
	}
	return equals, nil
}

// Progress is what the database said when the session began.
func (s *Session) Progress() migrate.Progress { return s.progress }

// Exclusions are those of the mappings, as the database had them when the session
// began.
func (s *Session) Exclusions() []migrate.Exclusion {
	exclusions := make([]migrate.Exclusion, len(s.writers))
	for i, w := range s.writers {
		exclusions[i] = w.exclusion
	}
	return exclusions
}

// Undo undoes the open transaction, whether its last statement has failed or not.
func (s *Session) Undo(ctx context.Context) error {
	s.open = false
	return s.say(ctx, "ROLLBACK")
}

// Close ends the session; an open transaction is undone.
func (s *Session) Close() error {
	if err := s.conn.Close(context.Background()); err != nil {
		return fmt.Errorf("close mover's session in %s database: %w", s.side, err)
	}
	return nil
}

// Apply writes changes in the open transaction, or begins one.
func (s *Session) Apply(ctx context.Context, changes []migrate.Change) error {
	return s.send(ctx, changes, nil)
}

// Commit writes changes and position, and makes them durable.
func (s *Session) Commit(ctx context.Context, changes []migrate.Change, position capability.Position) error {
	if err := s.send(ctx, changes, &position); err != nil {
		return err
	}
	s.open = false
	results, err := s.conn.PgConn().Exec(ctx, "COMMIT").ReadAll()
	if err != nil {
		return s.explainCommit(err)
	}
	if tag := results[0].CommandTag.String(); tag != "COMMIT" {
		return fmt.Errorf("commit changes in %s database: it answered %s", s.side, tag)
	}
	return nil
}

// send sends a batch of changes, and the position behind them.
func (s *Session) send(ctx context.Context, changes []migrate.Change, position *capability.Position) error {
	changes, err := s.translate(ctx, changes)
	if err != nil {
		return err
	}
	return s.guarded(ctx, func() error { return s.batch(ctx, changes, position) })
}

// guarded sends what send does. When a guard has seen another epoch than the
// session shows, the gate has changed: the session shows the new one and sends it
// again, if nothing of the transaction was sent before it.
func (s *Session) guarded(ctx context.Context, send func() error) error {
	for try := 1; ; try++ {
		began := !s.open
		err := send()
		if err == nil {
			s.open = true
			return nil
		}
		var refused *pgconn.PgError
		if !began || try == guardTries || !errors.As(err, &refused) || refused.Code != guardRefused {
			return err
		}
		if _, rollback := s.conn.Exec(ctx, "ROLLBACK"); rollback != nil {
			return errors.Join(err, rollback)
		}
		if pass := PassGuards(ctx, s.conn, s.progress.Capability); pass != nil {
			return errors.Join(err, pass)
		}
	}
}
