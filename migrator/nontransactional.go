package migrator

import (
	"context"
	"database/sql"
	"errors"
	"regexp"

	"github.com/go-gormigrate/gormigrate/v2"
	"gorm.io/gorm"
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

// withoutConcurrently is a pinned connection on which indexes are not made concurrently.
type withoutConcurrently struct{ gorm.ConnPool }

// Underlying returns the connection.
func (w *withoutConcurrently) Underlying() gorm.ConnPool { return w.ConnPool }

var concurrently = regexp.MustCompile(`(?is)^((?:\s|--[^\n]*(?:\n|$)|/\*.*?\*/)*(?:create\s+(?:unique\s+)?|drop\s+)index|reindex\s+(?:\([^)]*\)\s*)?(?:index|table))\s+concurrently\b`)

// ExecContext leaves out CONCURRENTLY.
func (w *withoutConcurrently) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	return w.ConnPool.ExecContext(ctx, concurrently.ReplaceAllString(query, "$1"), args...)
}

// BeginTx begins a transaction on the connection.
func (w *withoutConcurrently) BeginTx(ctx context.Context, opts *sql.TxOptions) (gorm.ConnPool, error) {
	switch pool := w.ConnPool.(type) {
	case gorm.TxBeginner:
		return pool.BeginTx(ctx, opts)
	case gorm.ConnPoolBeginner:
		return pool.BeginTx(ctx, opts)
	}
	return nil, gorm.ErrInvalidTransaction
}
