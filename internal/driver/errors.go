package driver

import (
	"database/sql/driver"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tenantry/tenantry/internal/pgerr"
)

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
	case pgerr.Is(err, pgerr.InvalidSchemaName) && l.scope.Shared:
		err = fmt.Errorf("%w: create it, or name the schema of the shared tables with plugin.WithSharedScope", err)
	case pgerr.Is(err, pgerr.InvalidSchemaName) && l.target.Managed:
		err = fmt.Errorf("%w: the tenant's schema is gone: restore it from a backup, or drop the tenant", err)
	case pgerr.Is(err, pgerr.InvalidSchemaName):
		err = fmt.Errorf("%w: run the migrator, which creates it, or check the strategy's schema names", err)
	case Refuses(err, refusalUsage):
		err = fmt.Errorf("%w: grant USAGE on schema %q to the role that the tenant's statements run as", err, l.target.Schema)
	}
	return l.scope.describe(op, err)
}
