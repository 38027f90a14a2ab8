package apply

import (
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"strangler/internal/postgres/sqlstate"
	"strangler/migrate"
)

// judgeRow says what came of a row's statement. Every change of the source has
// exactly one row on the target, or the two have parted.
func (s *Session) judgeRow(c migrate.Change, affected int64, err error) error {
	if err != nil {
		return s.explain(c, err)
	}
	if affected == 1 {
		return nil
	}
	detail := "the row to " + verb(c.Kind) + " is missing"
	if affected > 1 {
		detail = fmt.Sprintf("%d rows have this key", affected)
	} else if guard := s.writers[c.Table].mapping.Guard; guard != nil && c.Kind != migrate.ChangeDelete {
		return s.unmapped(c, detail+", or is not one of those that move as it would become (where: "+guard.SQL+")", "")
	}
	return s.conflict(c, detail)
}

// unmapped is a conflict with the mapping, not with somebody's row.
func (s *Session) unmapped(c migrate.Change, detail, said string) error {
	err := s.conflict(c, detail)
	err.Row.Said = said
	err.Mend = "change the row where it was written, so that the mapping has a row for it, then mend what differs with: strangler data repair"
	return err
}

func (s *Session) conflict(c migrate.Change, detail string) *migrate.ConflictError {
	w := s.writers[c.Table]
	key := c.Key
	if key == nil {
		for _, at := range w.keyAt {
			key = append(key, c.Values[at].Text)
		}
	}
	return &migrate.ConflictError{Table: w.mapping.To.Relation, Key: migrate.KeyHash(key), Detail: detail,
		Row: &migrate.Refused{Mapping: w.mapping, Kind: c.Kind, Key: key, Values: c.Values}}
}

// explain turns what PostgreSQL says about a change into a conflict where the
// data are the reason, and trying again would not help.
func (s *Session) explain(c migrate.Change, err error) error {
	var refusal *pgconn.PgError
	if !errors.As(err, &refusal) {
		return s.plain(0, err)
	}
	if refusal.Code == "23514" && refusal.ConstraintName == "" { // of a CHECK it has the name
		table := s.writers[c.Table].table
		return &migrate.HaltError{
			Reason: fmt.Sprintf("a row fits no partition of %s in the %s database: %s", s.writers[c.Table].mapping.To.Relation, s.side, sqlstate.Discreet(refusal)),
			Mend:   fmt.Sprintf("make one there (CREATE TABLE … PARTITION OF %s …), and the stream goes on with the row", table),
		}
	}
	switch refusal.Code[:2] {
	case "22", "23", "42":
		conflict := s.conflict(c, "cannot "+verb(c.Kind)+": "+sqlstate.Discreet(refusal))
		conflict.Code, conflict.Row.Said = refusal.Code, said(refusal)
		return conflict
	}
	return fmt.Errorf("%s row of %s: %w", verb(c.Kind), s.writers[c.Table].mapping.To.Relation, sqlstate.Describe(err))
}

// said is what a refusal has of the row's values.
func said(refusal *pgconn.PgError) string {
	if sqlstate.Hides(refusal) {
		return strings.TrimSuffix(refusal.Message+". "+refusal.Detail, ". ")
	}
	return refusal.Detail
}

// explainCommit is explain for constraints that are checked at the end.
func (s *Session) explainCommit(err error) error {
	var refusal *pgconn.PgError
	if errors.As(err, &refusal) && refusal.Code[:2] == "23" {
		return &migrate.HaltError{
			Reason: fmt.Sprintf("changes from %s break a constraint of the other side's table %s.%s: %s", s.progress.From, refusal.SchemaName, refusal.TableName, sqlstate.Discreet(refusal)),
			Mend:   "make the constraints of both sides the same, then start over with `strangler data reset`",
		}
	}
	return fmt.Errorf("commit changes in %s database: %w", s.side, sqlstate.Describe(err))
}

// plain passes an error on where no row is to blame. A truncation that
// foreign keys forbid is final, the rest is tried again.
func (s *Session) plain(_ int64, err error) error {
	var refusal *pgconn.PgError
	if errors.As(err, &refusal) && (refusal.Code == "0A000" || refusal.Code[:2] == "42") {
		return &migrate.HaltError{
			Reason: fmt.Sprintf("changes from %s cannot be applied to the %s database: %s", s.progress.From, s.side, refusal.Message),
			Mend:   "give the mover's role what is missing, or make both sides' constraints the same",
		}
	}
	if err != nil {
		return fmt.Errorf("apply changes to %s database: %w", s.side, sqlstate.Describe(err))
	}
	return nil
}

func verb(kind migrate.ChangeKind) string {
	switch kind {
	case migrate.ChangeInsert:
		return "insert"
	case migrate.ChangeDelete:
		return "delete"
	default:
		return "update"
	}
}
