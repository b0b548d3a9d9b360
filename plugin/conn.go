package plugin

import (
	"errors"

	"github.com/jackc/pgx/v5"
	"gorm.io/gorm"

	"github.com/tenantry/tenantry/internal/driver"
	"github.com/tenantry/tenantry/internal/guard"
)

// WithConn calls f with the real pgx connection of the transaction tx, for what
// GORM has no words for: COPY, batches, large objects. tx is what db.Begin or
// db.Transaction gives; outside a transaction it is an error, because a bare
// connection has no tenant.
//
//	err := db.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
//		return plugin.WithConn(tx, func(c *pgx.Conn) error {
//			_, err := c.CopyFrom(ctx, pgx.Identifier{"invoices"}, columns, source)
//			return err
//		})
//	})
//
// The connection is lent for the time of the call: f must not keep it, and statements of tx
// fail meanwhile; Commit and Rollback would wait for f, which must not call them. SQL that
// would end the transaction is refused. If f leaves something in the session,
// such as a named prepared statement, the connection is closed when its
// transaction ends; behind a transaction pooler that is refused instead. The texts of
// a pgx.Batch are not seen, because pgx writes it past its own frontend; its replies are. A batch
// that begins or ends a transaction is an error, and its connection is closed, but what it has
// committed stays. An error of f is returned as it is and does not end the transaction by itself.
func WithConn(tx *gorm.DB, f func(*pgx.Conn) error) error {
	if f == nil {
		return errors.New("plugin: WithConn: the function is nil")
	}
	if tx.DryRun {
		return nil
	}
	if err := guard.Check(tx); err != nil {
		return err
	}
	pool := tx.Statement.ConnPool
	if prepared, ok := pool.(*gorm.PreparedStmtTX); ok {
		pool = prepared.Tx
	}
	if _, ok := pool.(gorm.TxCommitter); !ok {
		return errors.New("plugin: WithConn: not in a transaction: use db.Transaction or db.Begin")
	}
	g, ok := guard.Of(tx)
	if !ok {
		return errors.New("plugin: WithConn: the plugin is not registered: call db.Use first")
	}
	giveBack, err := g.Lend(tx)
	if err != nil {
		return err
	}
	defer giveBack()
	_, err = pool.ExecContext(tx.Statement.Context, "-- plugin.WithConn", driver.Work(f))
	return err
}
