// Package postgres holds every SQL statement of the product: the gates, the
// capture of changes by logical decoding, or by triggers in package outbox,
// copying, applying, comparing, and the catalog questions that a plan is made
// from.
//
// It implements interfaces that the core packages declare, and decides nothing:
// when to copy, what to compare and who owns a table is its callers' business.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"strangler/capability"
	"strangler/migrate"
)

// pinned are the settings that change how values are written as text, or what a
// statement sees. Every session of ours sets them, on both sides, so that equal
// rows are equal bytes.
var pinned = map[string]string{
	"datestyle":                           "ISO, YMD",
	"intervalstyle":                       "postgres",
	"timezone":                            "UTC",
	"extra_float_digits":                  "3",
	"bytea_output":                        "hex",
	"lc_monetary":                         "C",
	"xmloption":                           "content", // or what is no whole document is refused
	"xmlbinary":                           "base64",
	"client_encoding":                     "UTF8",
	"search_path":                         "",
	"row_security":                        "off", // an error instead of silently fewer rows
	"array_nulls":                         "on",  // or NULLs within arrays are read again as text
	"standard_conforming_strings":         "on",
	"statement_timeout":                   "0",
	"lock_timeout":                        "0",
	"idle_in_transaction_session_timeout": "0",
	"idle_session_timeout":                "0",
	"synchronous_commit":                  "on",
	// Questions to the catalog look dear to the planner; compiling them is.
	"jit":                           "off",
	"default_transaction_isolation": "read committed",
	"default_transaction_read_only": "off",
	// A mover that has died must not keep its locks, slot and origin.
	"tcp_keepalives_idle":              "10",
	"tcp_keepalives_interval":          "5",
	"tcp_keepalives_count":             "3",
	"client_connection_check_interval": "5000",
}

// Database is one of the two databases of a capability, as the mover's role sees
// it. It is safe for concurrent use.
type Database struct {
	side   capability.Side
	pool   *pgxpool.Pool
	config *pgx.ConnConfig
	fence  Fence
	beat   atomic.Int64 // when WalPosition has last flushed the log, Unix nanoseconds

	numbering numbering
}

// Open prepares connections to the database at the URL or DSN and makes one of
// them, to tell an unreachable database at once. It blocks for at most ten
// seconds. Close the Database when done.
func Open(ctx context.Context, side capability.Side, dsn string) (*Database, error) {
	return open(ctx, side, dsn, Fence{})
}

func open(ctx context.Context, side capability.Side, dsn string, fence Fence) (*Database, error) {
	config, err := pgxpool.ParseConfig(dsn)
	if err == nil && strayed(config.ConnConfig) {
		err = errUnreadable
	}
	if err != nil {
		return nil, fmt.Errorf("open %s database: %w", side, redact(err))
	}
	for name, value := range pinned {
		config.ConnConfig.RuntimeParams[name] = value
	}
	if config.ConnConfig.RuntimeParams["application_name"] == "" {
		config.ConnConfig.RuntimeParams["application_name"] = "strangler"
	}
	if fence.Token > 0 {
		params := config.ConnConfig.RuntimeParams
		params["application_name"] = fence.marked(params["application_name"])
		config.ConnConfig.AfterConnect = fence.admitted(side)
	}
	config.ConnConfig.ConnectTimeout = 5 * time.Second
	config.MaxConns = 12
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("open %s database: %w", side, redact(err))
	}
	reach, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := reachable(reach, pool); err != nil {
		pool.Close()
		return nil, fmt.Errorf("reach %s database: %w", side, redact(err))
	}
	return &Database{side: side, pool: pool, config: config.ConnConfig.Copy(), fence: fence}, nil
}

// oldest is the first major version that has what the product needs: rights on
// single settings, and keys that set only some columns to NULL.
const oldest = 15

// reachable makes one connection and looks at the server's version.
func reachable(ctx context.Context, pool *pgxpool.Pool) error {
	conn, err := pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	if err := conn.Ping(ctx); err != nil {
		return err
	}
	var major int
	version := conn.Conn().PgConn().ParameterStatus("server_version")
	if _, err := fmt.Sscanf(version, "%d", &major); err == nil && major < oldest {
		return fmt.Errorf("the server is PostgreSQL %s; %d or later is needed", version, oldest)
	}
	return nil
}

// Close ends all connections. It blocks until those in use are given back.
func (d *Database) Close() { d.pool.Close() }

// Side says which of the two databases this is.
func (d *Database) Side() capability.Side { return d.side }

// connect makes a connection of its own, outside the pool, for sessions that
// carry state: origins, snapshots, closing a gate. The caller closes it.
func (d *Database) connect(ctx context.Context, settings map[string]string) (*pgx.Conn, error) {
	config := d.config.Copy()
	for name, value := range settings {
		config.RuntimeParams[name] = value
	}
	if name := settings["application_name"]; name != "" {
		config.RuntimeParams["application_name"] = d.fence.marked(name)
	}
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("connect to %s database: %w", d.side, redact(err))
	}
	return conn, nil
}

// replication makes a connection in the replication protocol, bound to the
// database. The caller closes it.
func (d *Database) replication(ctx context.Context) (*pgconn.PgConn, error) {
	config := d.config.Copy()
	config.RuntimeParams["replication"] = "database"
	conn, err := pgconn.ConnectConfig(ctx, &config.Config)
	if err != nil {
		return nil, fmt.Errorf("connect to %s database for replication: %w", d.side, redact(err))
	}
	return conn, nil
}

// timelineSQL is the timeline that the server writes. What pg_control says is that
// of its last checkpoint, which a standby that was just promoted has from before; on
// a standby there is nothing else.
const timelineSQL = `(CASE WHEN pg_is_in_recovery() THEN (SELECT timeline_id FROM pg_control_checkpoint())
	ELSE ('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::int END)`

// Identity asks which cluster this is and which timeline it is on.
func (d *Database) Identity(ctx context.Context) (capability.Identity, error) {
	var id capability.Identity
	err := d.pool.QueryRow(ctx,
		`SELECT system_identifier::text, `+timelineSQL+` FROM pg_control_system()`,
	).Scan(&id.System, &id.Timeline)
	if err != nil {
		return id, fmt.Errorf("identify %s database: %w", d.side, err)
	}
	return id, nil
}

// errUnreadable shows no part of the string: where it is not understood, nobody knows
// which part is the password.
var errUnreadable = errors.New("the connection string cannot be read; write postgres://USER:PASSWORD@HOST:PORT/DATABASE, with each of @ : / ? # % within the password as %40 %3A %2F %3F %23 %25, or host=HOST dbname=DATABASE user=USER password='PASSWORD'")

// strayed says whether part of a password has been taken for something else: it had
// an @ or a / in it that belongs to no address.
func strayed(config *pgx.ConnConfig) bool {
	host := strings.TrimPrefix(config.Host, "@") // as the names of abstract sockets begin
	if strings.Contains(host, "@") || strings.Contains(config.Database, "@") {
		return true
	}
	return slices.ContainsFunc(config.Fallbacks, func(f *pgconn.FallbackConfig) bool { return strings.Contains(f.Host, "@") })
}

// unreadable are the reasons of a ParseConfigError that have nothing of the string, or
// no more than the name of a setting.
var unreadable = regexp.MustCompile("`: (failed to configure TLS|failed to read service|invalid [a-z_]+|cannot parse [a-z_]+|pool_max_conns too small)")

// redact takes passwords out of the messages of connection errors.
func redact(err error) error {
	var parse *pgconn.ParseConfigError
	if errors.As(err, &parse) {
		reasons := unreadable.FindAllStringSubmatch(parse.Error(), -1)
		if len(reasons) == 0 {
			return errUnreadable
		}
		reason := reasons[len(reasons)-1][1]
		if inner := parse.Unwrap(); inner != nil && reason == "failed to configure TLS" { // which is about files
			reason += ": " + inner.Error()
		}
		return errors.New("the connection string cannot be read: " + reason)
	}
	var refused *pgconn.PgError
	if errors.As(err, &refused) && strings.Contains(refused.Message, "unsupported startup parameter") {
		return fmt.Errorf("the address is that of a connection pooler, through which sessions and replication do not pass; write that of the server itself: %w", err)
	}
	if errors.As(err, new(*pgconn.ConnectError)) {
		return oneLine{err}
	}
	return err
}

// oneLine is an error on one line, which pgx gives one for every address it tried,
// with and without TLS. What it says twice is said once.
type oneLine struct{ error }

func (e oneLine) Error() string {
	var said []string
	for line := range strings.Lines(e.error.Error()) {
		if line = strings.TrimSpace(line); !slices.Contains(said, line) {
			said = append(said, line)
		}
	}
	first, rest := said[0], said[1:]
	return strings.TrimSpace(first + " " + strings.Join(rest, "; "))
}

func (e oneLine) Unwrap() error { return e.error }

// Name returns host, port and database for messages, without user or password.
func (d *Database) Name() string {
	host := d.config.Host
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return (&url.URL{Scheme: "postgres", Host: fmt.Sprintf("%s:%d", host, d.config.Port), Path: d.config.Database}).String()
}

// One adapter implements all that a mover asks of a database.
var _ migrate.Database = (*Database)(nil)
