package postgres

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"strangler/capability"
	"strangler/internal/postgres/pgoutput"
	"strangler/migrate"
)

// feed is an open walsender. One goroutine receives; confirming only writes to
// the connection, which any goroutine may do.
type feed struct {
	conn    *pgconn.PgConn
	side    capability.Side
	timeout time.Duration
}

// Follow opens the capability's slot in this database behind a position. Where
// the slot is gone, broken or already past the position, changes are missing:
// that is a migrate.HaltError.
func (d *Database) Follow(ctx context.Context, name string, from capability.Position) (migrate.Feed, error) {
	slot := slotName(name, d.side)
	if err := d.checkSlot(ctx, name, from); err != nil {
		return nil, err
	}
	conn, err := d.replication(ctx)
	if err != nil {
		return nil, err
	}
	f := &feed{conn: conn, side: d.side}
	if f.timeout, err = senderTimeout(ctx, conn); err == nil {
		err = pglogrepl.StartReplication(ctx, conn, slot, pglogrepl.LSN(from), pglogrepl.StartReplicationOptions{
			Mode:       pglogrepl.LogicalReplication,
			PluginArgs: []string{"proto_version '1'", "messages 'true'", "publication_names '" + slot + "'"},
		})
	}
	if err != nil {
		_ = conn.Close(ctx) // the error that matters is the other one
		return nil, fmt.Errorf("follow slot %s in %s database: %w", slot, d.side, err)
	}
	return f, nil
}

// checkSlot makes sure that the slot has every change since the position.
func (d *Database) checkSlot(ctx context.Context, name string, from capability.Position) error {
	slot := slotName(name, d.side)
	var status string
	var kept bool
	var confirmed capability.Position
	err := d.pool.QueryRow(ctx, `
		SELECT coalesce(wal_status, ''), restart_lsn IS NOT NULL, (coalesce(confirmed_flush_lsn, '0/0') - '0/0'::pg_lsn)::bigint
		FROM pg_replication_slots WHERE slot_name = $1 AND database = current_database() AND plugin = 'pgoutput'`, slot,
	).Scan(&status, &kept, &confirmed)
	reason := ""
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		reason = "is gone"
	case err != nil:
		return fmt.Errorf("look at slot %s in %s database: %w", slot, d.side, err)
	case status == "lost" || !kept:
		reason = "has lost log that was not applied yet, because max_slot_wal_keep_size was exceeded"
	case confirmed > from:
		reason = fmt.Sprintf("stands at %s, behind what the other side has applied (%s): it was made anew", confirmed, from)
	default:
		return nil
	}
	return &migrate.HaltError{
		Reason: fmt.Sprintf("slot %s in the %s database %s", slot, d.side, reason),
		Mend:   "changes may be missing; find and mend them with: strangler data repair " + name,
	}
}

// senderTimeout is the server's patience, as this session has it.
func senderTimeout(ctx context.Context, conn *pgconn.PgConn) (time.Duration, error) {
	results, err := conn.Exec(ctx, "SELECT setting FROM pg_settings WHERE name = 'wal_sender_timeout'").ReadAll()
	if err != nil {
		return 0, fmt.Errorf("read wal_sender_timeout: %w", err)
	}
	millis, err := strconv.Atoi(string(results[0].Rows[0][0]))
	if err != nil {
		return 0, fmt.Errorf("read wal_sender_timeout: %w", err)
	}
	return time.Duration(millis) * time.Millisecond, nil
}

// Timeout is how long the walsender waits for a Confirm; 0 is for ever.
func (f *feed) Timeout() time.Duration { return f.timeout }

// Confirm tells the walsender what it need not keep. The position written,
// flushed and applied is one: it also makes an idle walsender tell its own
// position whenever that has moved.
func (f *feed) Confirm(durable capability.Position, reply bool) error {
	message := []byte{pglogrepl.StandbyStatusUpdateByteID}
	for range 3 { // written, flushed, applied
		message = binary.BigEndian.AppendUint64(message, uint64(durable))
	}
	message = binary.BigEndian.AppendUint64(message, uint64(time.Since(epoch2000).Microseconds())) //nolint:gosec // after 2000
	message = append(message, 0)
	if reply {
		message[len(message)-1] = 1
	}
	framed, err := (&pgproto3.CopyData{Data: message}).Encode(nil)
	if err == nil {
		// Past the driver: when Receive fails it says goodbye from a goroutine of its own,
		// in the same buffer. A whole message in one Write is whole to the server.
		_, err = f.conn.Conn().Write(framed)
	}
	if err != nil {
		return fmt.Errorf("answer %s database: %w", f.side, err)
	}
	return nil
}

// epoch2000 is where PostgreSQL's time begins.
var epoch2000 = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// Receive blocks until the next event.
func (f *feed) Receive(ctx context.Context) (migrate.Received, error) {
	for {
		raw, err := f.conn.ReceiveMessage(ctx)
		if err != nil {
			return migrate.Received{}, fmt.Errorf("receive from %s database: %w", f.side, err)
		}
		switch m := raw.(type) {
		case *pgproto3.CopyData:
			r, err := received(m.Data)
			if err != nil || r.Event != nil {
				return r, err
			}
		case *pgproto3.ErrorResponse:
			return migrate.Received{}, fmt.Errorf("receive from %s database: %w", f.side, pgconn.ErrorResponseToPgError(m))
		case *pgproto3.NoticeResponse, *pgproto3.ParameterStatus:
		default:
			return migrate.Received{}, fmt.Errorf("receive from %s database: the stream ended with %T", f.side, raw)
		}
	}
}

// received reads one message of the replication protocol. The event is nil for
// messages that say nothing to a stream.
func received(data []byte) (migrate.Received, error) {
	if len(data) == 0 {
		return migrate.Received{}, errors.New("read change stream: the message is cut short")
	}
	switch data[0] {
	case pglogrepl.PrimaryKeepaliveMessageByteID:
		k, err := pglogrepl.ParsePrimaryKeepaliveMessage(data[1:])
		if err != nil {
			return migrate.Received{}, fmt.Errorf("read change stream: %w", err)
		}
		return migrate.Received{Event: migrate.Keepalive{End: capability.Position(k.ServerWALEnd), Reply: k.ReplyRequested}, Sent: k.ServerTime}, nil
	case pglogrepl.XLogDataByteID:
		x, err := pglogrepl.ParseXLogData(data[1:])
		if err != nil {
			return migrate.Received{}, fmt.Errorf("read change stream: %w", err)
		}
		event, err := pgoutput.Decode(x.WALData)
		return migrate.Received{Event: event, Sent: x.ServerTime, Bytes: len(x.WALData)}, err
	}
	return migrate.Received{}, fmt.Errorf("read change stream: unknown message %q", data[0])
}

// Close ends the walsender.
func (f *feed) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := f.conn.Close(ctx); err != nil {
		return fmt.Errorf("close stream from %s database: %w", f.side, err)
	}
	return nil
}
