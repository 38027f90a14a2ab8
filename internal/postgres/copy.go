package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/jackc/pgx/v5"

	"strangler/migrate"
)

// snapshotGone is what PostgreSQL says, by version and by how far it has looked,
// of an exported snapshot whose session has ended.
var snapshotGone = []string{"22023", "42704", "55000"}

// ReadChunk writes a chunk's rows in the text form of COPY, as the exported
// snapshot sees them. Each chunk is a short transaction, so that a change of the
// table's definition waits for one chunk and not for the whole copy.
func (d *Database) ReadChunk(ctx context.Context, w io.Writer, snapshot string, from migrate.Relation, columns []string, chunk migrate.Chunk) (int64, error) {
	conn, err := d.pool.Acquire(ctx)
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", from, err)
	}
	defer conn.Release()
	session := conn.Conn().PgConn()
	if _, err := session.Exec(ctx, `BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET TRANSACTION SNAPSHOT `+literal(snapshot)).ReadAll(); err != nil {
		_ = session.Close(context.WithoutCancel(ctx)) // the first error is told
		if slices.Contains(snapshotGone, sqlstate(err)) {
			err = errors.Join(migrate.ErrSnapshotLost, err)
		}
		return 0, fmt.Errorf("read %s: %w", from, err)
	}
	where := fmt.Sprintf(`ctid >= '(%d,0)'::tid`, chunk.Low)
	if chunk.High < migrate.LastBlock {
		where += fmt.Sprintf(` AND ctid < '(%d,0)'::tid`, chunk.High)
	}
	tag, err := session.CopyTo(ctx, w, `COPY (SELECT `+idents(columns)+` FROM ONLY `+quoted(from)+` WHERE `+where+`) TO STDOUT`)
	if err != nil {
		// The session may be in the middle of a COPY: it is not given back.
		_ = session.Close(context.WithoutCancel(ctx)) // the first error is told
		return 0, fmt.Errorf("read %s: %w", from, err)
	}
	if _, err := session.Exec(ctx, `COMMIT`).ReadAll(); err != nil {
		return 0, fmt.Errorf("read %s: %w", from, err)
	}
	return tag.RowsAffected(), nil
}

// Blocks says how many blocks a table has now.
func (d *Database) Blocks(ctx context.Context, from migrate.Relation) (blocks int64, err error) {
	err = d.pool.QueryRow(ctx, `SELECT pg_relation_size($1::text::regclass) / current_setting('block_size')::int`, quoted(from)).Scan(&blocks)
	if err != nil {
		return 0, fmt.Errorf("measure %s in %s database: %w", from, d.side, err)
	}
	return blocks, nil
}

// Chunks returns the finished chunks of a capability's backfill.
func (d *Database) Chunks(ctx context.Context, name string) (map[migrate.Relation][]migrate.Chunk, error) {
	rows, err := d.pool.Query(ctx, `SELECT relation, low, high FROM strangler.chunk WHERE capability = $1 ORDER BY relation, low`, name)
	if err != nil {
		return nil, fmt.Errorf("read finished chunks of %s: %w", name, err)
	}
	chunks := map[migrate.Relation][]migrate.Chunk{}
	var relation string
	var low, high int64
	_, err = pgx.ForEachRow(rows, []any{&relation, &low, &high}, func() error {
		r := migrate.ParseRelation(relation)
		chunks[r] = append(chunks[r], migrate.Chunk{Low: low, High: high})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read finished chunks of %s: %w", name, err)
	}
	return chunks, nil
}

// Analyze brings the statistics of the tables up to date. Without them the first
// plans after a backfill read whole tables.
func (d *Database) Analyze(ctx context.Context, relations []migrate.Relation) error {
	for _, relation := range relations {
		if _, err := d.pool.Exec(ctx, `ANALYZE `+quoted(relation)); err != nil {
			return fmt.Errorf("analyze %s in %s database: %w", relation, d.side, err)
		}
	}
	return nil
}
