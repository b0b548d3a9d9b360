package migrator

import (
	"context"
	"database/sql"
	"errors"
	"regexp"

	"github.com/go-gormigrate/gormigrate/v2"
	"gorm.io/gorm"

	"github.com/tenantry/tenantry/internal/guard"
)

// errOutside is what a migration marked by NoTransaction returns when it is called
// in a transaction, before it has done anything.
var errOutside = errors.New("migrator: the migration can't run in a transaction")

// NoTransaction marks a migration that can't run in a transaction, such as CREATE
// INDEX CONCURRENTLY: it returns a copy that a [Migrator] runs outside of one,
// alone in its database, and records when it is through. What comes before it in the
// list is committed first. A process that ends in the middle leaves what was done: the
// next run calls the migration again, so it must be written to go on, with IF NOT
// EXISTS for example. Invalid indexes, which a CREATE INDEX CONCURRENTLY that fails
// leaves, are dropped. Behind a transaction pooler it takes [WithDirect].
//
// At a new place, such as that of a tenant who signs up, the word CONCURRENTLY is left
// out of the migration's statements about indexes: see [Migrations.Apply].
func NoTransaction(m *gormigrate.Migration) *gormigrate.Migration {
	if m == nil {
		return nil
	}
	marked := *m
	if m.Migrate != nil {
		marked.Migrate = outside(m.Migrate)
	}
	if m.Rollback != nil {
		marked.Rollback = outside(m.Rollback)
	}
	return &marked
}

func outside(f func(*gorm.DB) error) func(*gorm.DB) error {
	return func(tx *gorm.DB) error {
		if _, inTx := tx.Statement.ConnPool.(gorm.TxCommitter); inTx {
			return errOutside
		}
		return f(tx)
	}
}

// pinnedConn is a connection as a migration gets it that runs outside of a transaction.
// Transactions that the migration begins on it end with the migration.
type pinnedConn struct {
	gorm.ConnPool
	guard.Seal
	ended    context.Context // ends with the migration
	newPlace bool            // indexes are not made concurrently
}

var concurrently = regexp.MustCompile(`(?is)^((?:\s|--[^\n]*(?:\n|$)|/\*.*?\*/)*(?:create\s+(?:unique\s+)?|drop\s+)index|reindex\s+(?:\([^)]*\)\s*)?(?:index|table))\s+concurrently\b`)

// ExecContext leaves out CONCURRENTLY at a new place.
func (p *pinnedConn) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	if p.newPlace {
		query = concurrently.ReplaceAllString(query, "$1")
	}
	return p.ConnPool.ExecContext(ctx, query, args...)
}

// BeginTx begins a transaction on the connection, which ends with the migration at the
// latest, whatever its context is.
func (p *pinnedConn) BeginTx(ctx context.Context, opts *sql.TxOptions) (gorm.ConnPool, error) {
	ctx, cancel := context.WithCancel(ctx)
	context.AfterFunc(p.ended, cancel)
	switch pool := p.ConnPool.(type) {
	case gorm.TxBeginner:
		return pool.BeginTx(ctx, opts)
	case gorm.ConnPoolBeginner:
		return pool.BeginTx(ctx, opts)
	}
	cancel()
	return nil, gorm.ErrInvalidTransaction
}
