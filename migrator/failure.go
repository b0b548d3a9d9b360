package migrator

import (
	"errors"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tenantry/tenantry/scope"
)

// Failure says why a tenant failed, in PostgreSQL's own words if it was
// PostgreSQL that refused. It may quote the tenant's data.
type Failure struct {
	Migration string `json:"migration"` // which failed; "" if it wasn't in one
	Message   string `json:"message"`   // the whole error
	Code      string `json:"code"`      // SQLSTATE; "" if the error isn't PostgreSQL's
	Detail    string `json:"detail"`    // PostgreSQL's DETAIL
	Hint      string `json:"hint"`      // PostgreSQL's HINT
}

// Error returns the message.
func (f *Failure) Error() string { return f.Message }

// describe makes err a *scope.TenantError, once.
func describe(op string, t scope.Tenant, err error) error {
	var known *scope.TenantError
	if errors.As(err, &known) {
		return err
	}
	return &scope.TenantError{Op: op, Tenant: t, Err: err}
}

// failureOf returns err as the ledger keeps it.
func failureOf(err error) *Failure {
	f := &Failure{Message: storable(err.Error())}
	var in *migrationError
	if errors.As(err, &in) {
		f.Migration = in.id
	}
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) {
		f.Code, f.Detail, f.Hint = pgErr.Code, storable(pgErr.Detail), storable(pgErr.Hint)
	}
	return f
}

// storable returns text as PostgreSQL can store it: the panic of a migration may
// hold anything.
func storable(text string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(text, "?"), "\x00", "?")
}
