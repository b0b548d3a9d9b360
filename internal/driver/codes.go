package driver

import (
	"database/sql/driver"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// SQLSTATEs that this package acts on (Appendix A of the PostgreSQL manual).
const (
	codeCachedPlan    = "0A000" // the columns of the result have changed
	codeDateOverflow  = "22008" // a parameter's type has changed, as with the next ones
	codeInTransaction = "25001" // refused because it is in a transaction
	codeInternal      = "XX000" // a type is gone
	codeInvalidDate   = "22007"
	codeInvalidText   = "22P02"
	codeNoRight       = "42501"
	codeNoSchema      = "3F000"
	codeNoSetting     = "42704" // of the expressions that refuse
	codeNoStatement   = "26000"
	codeOutOfRange    = "22003"
	codeSyntax        = "42601"
	codeTermination   = "2D000" // code has tried to end a transaction that it may not end
)

// codeOf returns PostgreSQL's code of err, or "".
func codeOf(err error) string {
	if err == nil {
		return ""
	}
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) {
		return pgErr.Code
	}
	return ""
}

// refusedBy reports whether the server refused a text with code, in one of the
// given routines of its source if it names any: messages are translated,
// routines are not, and code of the user's can raise the same code.
func refusedBy(err error, code string, routines ...string) bool {
	var pgErr *pgconn.PgError
	return errors.As(err, &pgErr) && pgErr.Code == code && (pgErr.Routine == "" || slices.Contains(routines, pgErr.Routine))
}

// endsSession reports whether err is of the kind with which the server ends a session: it is shut
// down, has crashed, or somebody has terminated the session.
func endsSession(err error) bool { return strings.HasPrefix(codeOf(err), "57") }

// retryable turns an error that came before anything was sent into what
// database/sql retries, like pgx's stdlib.
func retryable(err error) error {
	if err != nil && pgconn.SafeToRetry(err) {
		return driver.ErrBadConn
	}
	return err
}

// failed says what was tried for which tenant, and what to do if its schema
// does not exist.
func (l *lease) failed(op string, err error) error {
	switch {
	case codeOf(err) == codeNoSchema && l.scope.Shared:
		err = fmt.Errorf("%w: create it, or name the schema of the shared tables with plugin.WithSharedScope", err)
	case codeOf(err) == codeNoSchema && l.target.Managed:
		err = fmt.Errorf("%w: the tenant's schema is gone: restore it from a backup, or drop the tenant", err)
	case codeOf(err) == codeNoSchema:
		err = fmt.Errorf("%w: run the migrator, which creates it, or check the strategy's schema names", err)
	case Refuses(err, refusalUsage):
		err = fmt.Errorf("%w: grant USAGE on schema %q to the role that the tenant's statements run as", err, l.target.Schema)
	}
	return l.scope.describe(op, err)
}
