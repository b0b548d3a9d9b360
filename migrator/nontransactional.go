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
// A new tenant is made in one transaction, by a catalog. There, the word CONCURRENTLY
// is left out of the migration's statements about indexes; of other statements that
// can't run in a transaction it must leave out itself.
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
		_, inTx := tx.Statement.ConnPool.(gorm.TxCommitter)
		if _, ok := tx.Statement.ConnPool.(*inline); inTx && !ok {
			return errOutside
		}
		return f(tx)
	}
}

// inline is a transaction in which indexes are not made concurrently.
type inline struct {
	gorm.ConnPool
	gorm.TxCommitter
}

// inlined returns a session of the transaction tx for marked migrations.
func inlined(tx *gorm.DB) *gorm.DB {
	committer, ok := tx.Statement.ConnPool.(gorm.TxCommitter)
	if !ok {
		return tx
	}
	session := tx.Session(&gorm.Session{NewDB: true, Context: tx.Statement.Context}) // a context makes the statement a copy
	session.Statement.ConnPool = &inline{tx.Statement.ConnPool, committer}
	return session
}

var concurrently = regexp.MustCompile(`(?is)^((?:\s|--[^\n]*(?:\n|$)|/\*.*?\*/)*(?:create\s+(?:unique\s+)?|drop\s+)index|reindex\s+(?:\([^)]*\)\s*)?(?:index|table))\s+concurrently\b`)

// ExecContext leaves out CONCURRENTLY.
func (i *inline) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	return i.ConnPool.ExecContext(ctx, concurrently.ReplaceAllString(query, "$1"), args...)
}
