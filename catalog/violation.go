package catalog

import (
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"gorm.io/gorm"

	"github.com/tenantry/tenantry/internal/pgerr"
)

// describeViolation turns what the constraints of the master's tables have
// refused into an error that says it in the catalog's words. Others are returned
// with what was tried.
func describeViolation(err error, op, what string) error {
	var input *InputError
	var pgErr *pgconn.PgError
	switch {
	case err == nil, errors.Is(err, ErrNoRoom), errors.As(err, &input):
		return err
	case pgerr.Is(err, pgerr.DeadlockDetected): // with another rename that wants this one's hosts
		return fmt.Errorf("%w %q: try again", ErrBusy, what)
	case errors.Is(err, gorm.ErrRecordNotFound):
		return fmt.Errorf("%w tenant %q", ErrUnknown, what)
	case !errors.As(err, &pgErr) || pgErr.Code != pgerr.UniqueViolation:
		return fmt.Errorf("catalog: %s %q: %w", op, what, err)
	}
	switch pgErr.ConstraintName {
	case "tenants_pkey":
		return &InputError{Field: "id", Value: what, Err: ErrTaken}
	case "hosts_pkey":
		return &InputError{Field: "host", Value: keyOf(pgErr.Detail), Err: ErrTaken}
	case "servers_pkey":
		return &InputError{Field: "server", Value: what, Err: ErrTaken}
	case "databases_pkey", "servers_cluster_database_key":
		return &InputError{Field: "connection string", Reason: "the catalog uses that database already", Err: ErrTaken}
	}
	return fmt.Errorf("catalog: %s %q: %w", op, what, err)
}

// keyOf returns the value in "Key (name)=(acme) already exists." It is empty when
// the server says that in another form.
func keyOf(detail string) string {
	_, rest, _ := strings.Cut(detail, "=(")
	value, _, found := strings.Cut(rest, ")")
	if !found {
		return ""
	}
	return value
}
