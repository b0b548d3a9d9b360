package guard

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"

	"gorm.io/gorm"
)

// ErrForeignPool is in the error of a statement that would have gone to another pool than
// the plugin's.
var ErrForeignPool = errors.New("the pool is not the plugin's, which alone knows of tenants")

// ErrReplacedCallback is in the error of a statement for which a callback stands in the
// place of one of GORM's own.
var ErrReplacedCallback = errors.New("a callback of GORM's was replaced")

func foreign(pool gorm.ConnPool) error {
	return fmt.Errorf("plugin: nothing was sent to %T: %w: take out the GORM plugin, or the callback, that sets Statement.ConnPool", pool, ErrForeignPool)
}

func replaced(name, by string) error {
	return fmt.Errorf("plugin: %w: %s stands in the place of %s, and may answer with the rows of another tenant: take out the GORM plugin that registered it, or, if it keeps tenants apart, pass plugin.WithTrustedCallback(%q)", ErrReplacedCallback, by, name, name)
}

// refused is a pool that sends nothing: all that it is asked fails with err.
type refused struct{ err error }

var (
	_ gorm.ConnPool         = refused{}
	_ gorm.ConnPoolBeginner = refused{}
	_ gorm.GetDBConnector   = refused{}
)

// PrepareContext returns the error.
func (r refused) PrepareContext(context.Context, string) (*sql.Stmt, error) { return nil, r.err }

// ExecContext returns the error.
func (r refused) ExecContext(context.Context, string, ...any) (sql.Result, error) { return nil, r.err }

// QueryContext returns the error.
func (r refused) QueryContext(context.Context, string, ...any) (*sql.Rows, error) { return nil, r.err }

// QueryRowContext returns a row with the error.
func (r refused) QueryRowContext(context.Context, string, ...any) *sql.Row { return failedRow(r.err) }

// BeginTx returns the error.
func (r refused) BeginTx(context.Context, *sql.TxOptions) (gorm.ConnPool, error) { return nil, r.err }

// GetDBConn returns the error.
func (r refused) GetDBConn() (*sql.DB, error) { return nil, r.err }

// failedRow returns a row whose Scan returns err. database/sql makes one only where a pool
// can't connect.
func failedRow(err error) *sql.Row {
	pool := sql.OpenDB(unconnected{err})
	defer func() { _ = pool.Close() }() // it has opened nothing
	return pool.QueryRowContext(context.Background(), "")
}

// unconnected is a connector that returns an error.
type unconnected struct{ err error }

// Connect returns the error.
func (u unconnected) Connect(context.Context) (driver.Conn, error) { return nil, u.err }

// Driver returns nil: nobody asks a pool that lives for one row.
func (unconnected) Driver() driver.Driver { return nil }
