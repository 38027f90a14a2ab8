package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"strangler/internal/postgres/quote"
	"strangler/internal/postgres/sqlstate"
	"strangler/migrate"
)

// snapshotGone is what PostgreSQL says, by version and by how far it has looked,
// of an exported snapshot whose session has ended.
var snapshotGone = []string{"22023", "42704", "55000"}

// deadlock is what the server says to one of those who wait for each other.
const deadlock = "40P01"

// ReadChunk writes the selection of a chunk's rows in the text form of COPY, as the exported
// snapshot sees them. Each chunk is a short transaction, and gives way to whoever
// waits for its table's lock: a change of the definition waits for a second or
// two, and the monolith behind it, not for a copy.
func (d *Database) ReadChunk(ctx context.Context, w io.Writer, snapshot string, selection migrate.Selection, chunk migrate.Chunk) (int64, error) {
	from := selection.Relation
	conn, err := d.pool.Acquire(ctx)
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", from, err)
	}
	defer conn.Release()
	session := conn.Conn().PgConn()
	if err := openChunk(ctx, session, snapshot, from, chunk); err != nil {
		_ = session.Close(context.WithoutCancel(ctx)) // the first error is told
		return 0, fmt.Errorf("read %s: %w", from, err)
	}
	// From the first lock on: it is held while a second one is waited for.
	watch := d.watchLock(ctx, session.PID(), nil)
	sql := selectChunk(selection, chunk)
	if selection.With != nil {
		if sql, err = joinedChunk(ctx, conn.Conn(), selection, chunk); sqlstate.Of(err) == deadlock {
			err = errors.Join(&migrate.YieldedError{Relation: selection.With.Relation, To: "whoever changes both tables"}, err)
		}
	}
	var tag pgconn.CommandTag
	if err == nil {
		tag, err = session.CopyTo(ctx, w, sql)
	}
	if err == nil {
		_, err = session.Exec(ctx, `COMMIT`).ReadAll()
	}
	if to := watch.end(); to != "" {
		// Also where the cancellation came too late: the chunk is not told to be read.
		err = errors.Join(&migrate.YieldedError{Relation: from, To: to}, err)
	}
	if err != nil {
		// The session may be in the middle of a COPY: it is not given back.
		_ = session.Close(context.WithoutCancel(ctx)) // the first error is told
		return 0, fmt.Errorf("read %s: %w", from, sqlstate.Describe(err))
	}
	return tag.RowsAffected(), nil
}

// openChunk begins the transaction of a chunk. The lock comes before the look at the
// file, which may not change from then on.
func openChunk(ctx context.Context, session *pgconn.PgConn, snapshot string, from migrate.Relation, chunk migrate.Chunk) error {
	if _, err := session.Exec(ctx, `BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET TRANSACTION SNAPSHOT `+quote.Literal(snapshot)).ReadAll(); err != nil {
		if slices.Contains(snapshotGone, sqlstate.Of(err)) {
			err = errors.Join(migrate.ErrSnapshotLost, err)
		}
		return err
	}
	results, err := session.Exec(ctx, `LOCK TABLE ONLY `+quote.Relation(from)+` IN ACCESS SHARE MODE; SELECT pg_relation_filenode(r) FROM (SELECT `+quote.Literal(quote.Relation(from))+`::regclass AS r) t`).ReadAll()
	if err != nil {
		if undefined(err) {
			err = errors.Join(migrate.ErrRewritten, err) // dropped, as a partition may be
		}
		return err
	}
	if string(results[1].Rows[0][0]) != strconv.FormatInt(chunk.File, 10) {
		return migrate.ErrRewritten
	}
	return nil
}

func selectChunk(s migrate.Selection, chunk migrate.Chunk) string {
	return `COPY (` + selectSQL(s, "ONLY ", "t", blocks(chunk), "") + `) TO STDOUT`
}

// blocks is the condition for rows of a chunk.
func blocks(chunk migrate.Chunk) string {
	where := fmt.Sprintf(`ctid >= '(%d,0)'::tid`, chunk.Low)
	if chunk.High < migrate.LastBlock {
		where += fmt.Sprintf(` AND ctid < '(%d,0)'::tid`, chunk.High)
	}
	return where
}

// Extents says how large a table is now, or each of its partitions that holds
// rows.
func (d *Database) Extents(ctx context.Context, from migrate.Relation) ([]migrate.Extent, error) {
	rows, err := d.pool.Query(ctx, membersSQL+`
		SELECT m.schema, m.name, pg_relation_size(m.oid) / current_setting('block_size')::int, pg_table_size(m.oid), pg_relation_filenode(m.oid)::bigint
		FROM members m WHERE m.kind = 'r' ORDER BY 1, 2`, schemas([]migrate.Relation{from}), names([]migrate.Relation{from}))
	if err != nil {
		return nil, fmt.Errorf("measure %s in %s database: %w", from, d.side, err)
	}
	extents, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (e migrate.Extent, err error) {
		var blocks, bytes, file *int64 // null where it was dropped meanwhile
		err = row.Scan(&e.Leaf.Schema, &e.Leaf.Name, &blocks, &bytes, &file)
		if err == nil && (blocks == nil || bytes == nil || file == nil) {
			err = fmt.Errorf("%s was dropped", e.Leaf)
		}
		if err == nil {
			e.Blocks, e.Bytes, e.File = *blocks, *bytes, *file
		}
		return e, err
	})
	if err == nil && len(extents) == 0 { // no partition, or no table
		_, err = d.only(ctx, from)
	}
	if err != nil {
		return nil, fmt.Errorf("measure %s in %s database: %w", from, d.side, err)
	}
	return extents, nil
}

// Chunks returns the finished chunks of a capability's backfill.
func (d *Database) Chunks(ctx context.Context, name string) (map[migrate.Relation][]migrate.Chunk, error) {
	rows, err := d.pool.Query(ctx, `SELECT relation, leaf, low, high, file, rows FROM strangler.chunk WHERE capability = $1 ORDER BY relation, low`, name)
	if err != nil {
		return nil, fmt.Errorf("read finished chunks of %s: %w", name, err)
	}
	chunks := map[migrate.Relation][]migrate.Chunk{}
	var relation, leaf string
	var c migrate.Chunk
	_, err = pgx.ForEachRow(rows, []any{&relation, &leaf, &c.Low, &c.High, &c.File, &c.Rows}, func() error {
		r := migrate.ParseRelation(relation)
		c.Leaf = migrate.Relation{}
		if leaf != "" {
			c.Leaf = migrate.ParseRelation(leaf)
		}
		chunks[r] = append(chunks[r], c)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read finished chunks of %s: %w", name, err)
	}
	return chunks, nil
}

// ForgetChunks strikes off the finished chunks of one leaf of a table's source.
func (d *Database) ForgetChunks(ctx context.Context, name string, into, leaf migrate.Relation) error {
	_, err := d.pool.Exec(ctx, `DELETE FROM strangler.chunk WHERE capability = $1 AND relation = $2 AND leaf IN ($3, '')`, name, chunkRelation(into), chunkRelation(leaf))
	if err != nil {
		return fmt.Errorf("forget finished chunks of %s: %w", into, err)
	}
	return nil
}

// chunkRelation is a table's name in the records of chunks.
func chunkRelation(r migrate.Relation) string { return r.Schema + "." + r.Name }

// Analyze brings the statistics of the tables up to date. Without them the first
// plans after a backfill read whole tables.
func (d *Database) Analyze(ctx context.Context, relations []migrate.Relation) error {
	for _, relation := range relations {
		if _, err := d.pool.Exec(ctx, `ANALYZE `+quote.Relation(relation)); err != nil {
			return fmt.Errorf("analyze %s in %s database: %w", relation, d.side, err)
		}
	}
	return nil
}
