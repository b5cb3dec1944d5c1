package store

import (
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

var (
	// ErrNotFound: there is no such thing, or it belongs to another tenant, which is
	// the same to the caller.
	ErrNotFound = errors.New("not found")
	// ErrConflict: something else is there already; see [ConflictError].
	ErrConflict = errors.New("conflict")
	// ErrLimit: the tenant has as many of these as it may have.
	ErrLimit = errors.New("limit reached")
	// ErrVersion: the system was changed in the meantime.
	ErrVersion = errors.New("changed in the meantime")
	// ErrInvalid: a value that the store does not keep; see [InvalidError].
	ErrInvalid = errors.New("invalid value")
	// ErrSchema: the database is not one of this program, or of a newer one.
	ErrSchema = errors.New("the database has another schema")
)

// ConflictError says what was in the way. It wraps [ErrConflict].
type ConflictError struct {
	// What names it: the field that has to be unique ("id", "email", "serial",
	// "system", "offer", "name", "handover", "invitation"), or "pairing" for a system that is paired, "state" for
	// one that is in another state, "closed" for an offer that is no longer open,
	// "request" and "running" for idempotency keys, "lease" for a rollout that another
	// process works on, "version" for an image of the same model and version, "rollout" for
	// one that is being brought to PBXs.
	What string
}

// Error gives the message.
func (e *ConflictError) Error() string { return "conflict: " + e.What }

// Is makes it an [ErrConflict].
func (e *ConflictError) Is(target error) bool { return target == ErrConflict }

// InvalidError names a value that is not kept. It wraps [ErrInvalid].
type InvalidError struct {
	Field   string // as in the struct: "Role"
	Problem string // in a few words that follow the field
}

// Error gives "Field problem".
func (e *InvalidError) Error() string { return e.Field + " " + e.Problem }

// Is makes it an [ErrInvalid].
func (e *InvalidError) Is(target error) bool { return target == ErrInvalid }

// uniques gives what a unique index is called in a [ConflictError]: PostgreSQL names
// the index, SQLite its columns.
var uniques = map[string]string{
	"users_email": "email", "users.email": "email",
	"systems_serial": "serial", "systems.tenant_id, systems.serial": "serial",
	"system_groups_name": "name", "system_groups.tenant_id, system_groups.name": "name",
	"offers_open": "system", "offers.system_id": "system",
	"templates_name": "name", "templates.tenant_id, templates.name": "name",
	"firmwares_version": "version", "firmwares.model, firmwares.version": "version",
	"sites_name": "name", "sites.tenant_id, sites.name": "name",
	"invitations_email": "invitation", "invitations.tenant_id, invitations.email": "invitation",
	"saved_filters_own": "name", "saved_filters.tenant_id, saved_filters.user_id, saved_filters.name": "name",
	"saved_filters_shared": "name", "saved_filters.tenant_id, saved_filters.name": "name",
	"handovers_open": "handover", "handovers.system_id": "handover",
	"pairings_serial": "serial", "pairings.serial": "serial",
	"pairings_system": "system", "pairings.system_id": "system",
	"pairings_offer": "offer", "pairings.offer_id": "offer",
}

func conflict(constraint string) error {
	if what, ok := uniques[constraint]; ok {
		return &ConflictError{What: what}
	}
	return &ConflictError{What: "id"}
}

// explain turns an engine's error about the data into one of the package. The
// reference to something that is not there is ErrNotFound.
func explain(err error) error {
	if lite, ok := errors.AsType[*sqlite.Error](err); ok {
		switch lite.Code() {
		case sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY:
			_, columns, _ := strings.Cut(lite.Error(), "UNIQUE constraint failed: ")
			columns, _, _ = strings.Cut(columns, " (")
			return conflict(columns)
		case sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY:
			return ErrNotFound
		}
	}
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		switch pg.Code {
		case "23505": // unique_violation
			return conflict(pg.ConstraintName)
		case "23503": // foreign_key_violation
			return ErrNotFound
		}
	}
	return fmt.Errorf("database: %w", err)
}

// again tells whether the transaction may succeed when it is run again.
func again(err error) bool {
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		return pg.Code == "40001" || pg.Code == "40P01" // serialization_failure, deadlock_detected
	}
	lite, ok := errors.AsType[*sqlite.Error](err)
	return errors.Is(err, errUndone) || ok && lite.Code()&0xff == sqlite3.SQLITE_BUSY
}
