package migrator

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"gorm.io/gorm"

	"github.com/tenantry/tenantry/internal/driver"
	"github.com/tenantry/tenantry/scope"
)

// visit is the work on one tenant, or on the shared tables.
type visit struct {
	ctx   context.Context // names the tenant, or the shared scope
	lock  string          // SQL of the key of its advisory lock
	known bool            // its tracking table was seen once

	// listed is what is applied by the ledger, sorted; nil if that is not to be relied
	// on. The steps then begin before the tracking table was read, and if it turns out
	// to be otherwise nothing of them is left.
	listed []string

	// steps says what is to be done, given what is applied.
	steps func(applied []string) ([]step, error)

	// ready waits, under the lock, until the work may begin; nil if it may.
	ready func(context.Context) error
}

// visitOf returns the visit of a tenant. known is that it has a tracking table.
func (m *Migrator) visitOf(ctx context.Context, t scope.Tenant, known bool, steps func([]string) ([]step, error)) visit {
	return visit{
		ctx:   scope.With(ctx, t),
		lock:  "pg_catalog.hashtextextended('tenantry/migrator/" + t.String() + "', 0)",
		known: known,
		steps: steps,
	}
}

// visited is what a visit has done.
type visited struct {
	applied []string // what is applied now, sorted; nil if that isn't known
	done    []step
	did     func(step) // is told of each step that is committed
}

// busyWords is what BEGIN says if it can't have the tenant's lock, as part of
// PostgreSQL's message.
const busyWords = "tenantry: another process is at work on the tenant"

// isBusy reports whether BEGIN could not have the tenant's lock.
func isBusy(err error) bool {
	return driver.Refuses(err, busyWords)
}

// carryOut does all steps of a visit: in one transaction, interrupted only by steps
// that can't run in one.
func (m *Migrator) carryOut(v visit, out *visited) error {
	for {
		part, next, err := m.transact(v)
		var lost *lostCommit
		if errors.As(err, &lost) && v.ctx.Err() == nil {
			part, next, err = m.findOut(v, lost)
		}
		out.add(part)
		if err != nil || next == nil {
			return err
		}
		v.listed = nil // it was
		part, err = m.outside(v, *next)
		out.add(part)
		if err != nil {
			return err
		}
	}
}

// lostCommit is that a connection broke while COMMIT was on its way.
type lostCommit struct {
	err  error
	out  visited // what was to be committed
	next *step
}

func (l *lostCommit) Error() string { return l.err.Error() }
func (l *lostCommit) Unwrap() error { return l.err }

// unbegun is that a transaction could not begin, and PostgreSQL has not refused it.
type unbegun struct{ err error }

func (u *unbegun) Error() string { return u.err.Error() }
func (u *unbegun) Unwrap() error { return u.err }

// isUnbegun reports whether err says that a connection broke before the transaction
// had begun. The pool does not see at once that a server, or what is in between, has
// closed what it keeps; and nothing has run. That there is no connection at all, or no
// place for the tenant, is not meant.
func isUnbegun(err error) bool {
	var u *unbegun
	var failed *scope.TenantError
	return errors.As(err, &u) && errors.As(u.err, &failed) && failed.Op == "begin"
}

// findOut looks whether a COMMIT without an answer took effect. If it did not, the
// steps are done once more: nothing of them is left.
func (m *Migrator) findOut(v visit, lost *lostCommit) (visited, *step, error) {
	v.listed = nil // the ledger does not know either
	out, next, err := m.transact(v)
	if err == nil && len(out.done) == 0 && slices.Equal(out.applied, lost.out.applied) {
		return lost.out, lost.next, nil
	}
	return out, next, err
}

// add adds what a part of the work has done.
func (v *visited) add(part visited) {
	if part.applied != nil {
		v.applied = part.applied
	}
	v.done = append(v.done, part.done...)
	for _, s := range part.done {
		v.did(s)
	}
}

// transact does steps in one transaction, as far as they can run in one, and
// returns the first that can't. It waits for other processes outside of
// transactions: CREATE INDEX CONCURRENTLY waits for all that are in one.
func (m *Migrator) transact(v visit) (out visited, next *step, err error) {
	for try := 1; ; try++ {
		err = insist(v.ctx, isUnbegun, func() error {
			out, next, err = m.tryTransact(v)
			return err
		})
		if errors.Is(err, errListed) {
			v.listed = nil
			continue
		}
		if !isBusy(err) {
			return out, next, err
		}
		if try == maxTries {
			m.logger.Warn("migrator: another session holds the lock of a tenant, maybe of a process that hangs", slog.Any("error", err))
		}
		if err := wait(v.ctx, pause(min(try, maxTries))); err != nil {
			return out, nil, err
		}
	}
}

// errListed is that the ledger's list is not the tenant's.
var errListed = errors.New("the tenant has other migrations than the ledger says")

// tryTransact needs two round trips besides those of the steps: BEGIN, which also
// reads what is applied, and COMMIT, which also records. If the ledger's list can be
// relied on, BEGIN goes with the first step.
func (m *Migrator) tryTransact(v visit) (out visited, next *step, err error) {
	var table trackingTable
	before := v.listed
	begun, performed := false, false
	var refused error
	ctx := driver.WithPreamble(v.ctx, func(t *driver.Target) driver.Preamble {
		begun, refused = false, nil // database/sql may try another connection
		p := v.preamble(t)
		p.Query = m.limits()
		if t.Schema != "" {
			table = tableIn(t.Schema)
			p.Query += table.copySQL()
			p.Rows = func(ids []string) error {
				begun, before = true, sorted(ids)
				if v.listed != nil && !slices.Equal(before, v.listed) {
					return errListed
				}
				return nil
			}
			p.Later = v.listed != nil && v.ready == nil
			p.Refused = func(err error) { begun, refused = false, err }
		}
		return p
	})
	ctx = driver.WithEpilogue(ctx, func() string { return table.record(out.done) })
	err = m.db.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
		// From here on without the preamble: a migration may begin other
		// transactions with this context. The statement is this transaction's alone.
		tx.Statement.Context = v.ctx
		if v.ready != nil {
			if err := v.ready(v.ctx); err != nil {
				return err
			}
		}
		if table == "" {
			begun = true
			if table, err = tableOf(tx); err != nil {
				return err
			}
			if before, err = table.applied(tx); err != nil {
				return err
			}
		}
		out, next, err = m.perform(tx, v, before)
		performed = err == nil
		return err
	}, &sql.TxOptions{Isolation: sql.LevelReadCommitted}) // what is seen after the lock is what the lock protects
	if refused != nil {
		err = refused
	}
	if err != nil && !begun && v.known && isCode(err, "42P01", "3F000") {
		err = fmt.Errorf("%w: the ledger knows of migrations of the tenant, but its tracking table is gone, or its whole schema: restore it from a backup, or call Verify if the tenant is to begin anew", err)
	}
	if err != nil && !begun && isLost(err) && !errors.Is(err, errListed) {
		err = &unbegun{err}
	}
	if err != nil && performed && isLost(err) {
		err = &lostCommit{err: err, out: out, next: next}
	}
	if err != nil {
		return visited{}, nil, err
	}
	return out, next, nil
}

// isLost reports whether err says that a connection broke, and not that PostgreSQL
// has refused: 57P01 and its like end a session, not the work.
func isLost(err error) bool {
	var pgErr *pgconn.PgError
	return !errors.As(err, &pgErr) || strings.HasPrefix(pgErr.Code, "57") || strings.HasPrefix(pgErr.Code, "08")
}

// perform does the steps in tx, up to the first that can't run there.
func (m *Migrator) perform(tx *gorm.DB, v visit, before []string) (out visited, next *step, err error) {
	steps, err := v.steps(before)
	if err != nil {
		return out, nil, err
	}
	for i, s := range steps {
		if i == 1 {
			if err := m.hurry(tx); err != nil {
				return visited{}, nil, err
			}
		}
		start := time.Now()
		err := s.run(tx, nil)
		s.took = time.Since(start)
		if errors.Is(err, errOutside) {
			next = &s
			break
		}
		if err != nil {
			return visited{}, nil, err
		}
		out.done = append(out.done, s)
	}
	out.applied = after(before, out.done)
	return out, next, nil
}

// briefly is how long a step waits for a lock while the transaction holds those of
// the steps before it: less than the second after which PostgreSQL looks for deadlocks,
// so that in one with the application it is the migration that gives way.
const briefly = 500 * time.Millisecond

// hurry makes the statements that follow in tx wait no longer than briefly.
func (m *Migrator) hurry(tx *gorm.DB) error {
	if m.lockTimeout > 0 && m.lockTimeout <= briefly {
		return nil
	}
	return execute(tx, fmt.Sprintf("set local lock_timeout = '%dms'", briefly.Milliseconds()))
}

// preamble locks the tenant against other migrators until the end of the
// transaction, and makes sure that schema and table exist. The lock comes first: two sessions that create one
// schema at a time collide in spite of IF NOT EXISTS. A session's lock would leak
// through a transaction pooler, and one that is waited for holds a snapshot meanwhile.
func (v visit) preamble(t *driver.Target) driver.Preamble {
	lock := "pg_catalog.pg_try_advisory_xact_lock(" + v.lock + ")"
	if t.Schema == "" || v.known {
		return driver.Preamble{Unless: lock, Words: busyWords, Lead: yielding}
	}
	return driver.Preamble{SQL: fmt.Sprintf("select %s, %s; %s", driver.RefuseUnless(lock, busyWords), yielding, create(t))}
}

// yielding makes the migration the one that gives way in a deadlock with the
// application, as it looks for one first: it is tried again, and no request fails. It
// takes a right that superusers have and others can be granted.
const yielding = "case when pg_catalog.has_parameter_privilege('deadlock_timeout', 'set') then pg_catalog.set_config('deadlock_timeout', '50ms', true) end"

// limits are the same as limited, for the rest of a transaction. SET takes the server
// less time than a function in a query, which is planned.
func (m *Migrator) limits() string {
	return "set local lock_timeout = " + strconv.FormatInt(m.lockTimeout.Milliseconds(), 10) +
		"; set local statement_timeout = " + strconv.FormatInt(m.statementTimeout.Milliseconds(), 10) + "; "
}

// limited returns a context whose statements wait and run only so long.
func (m *Migrator) limited(ctx context.Context) context.Context {
	return driver.WithSettings(ctx,
		driver.Setting{Name: "lock_timeout", Value: strconv.FormatInt(m.lockTimeout.Milliseconds(), 10)},
		driver.Setting{Name: "statement_timeout", Value: strconv.FormatInt(m.statementTimeout.Milliseconds(), 10)})
}

// create makes the schema, unless somebody else is to make it, and the tracking
// table. Only if they are missing: CREATE SCHEMA IF NOT EXISTS asks for the right
// to create one in any case, which the owner of a schema need not have.
func create(t *driver.Target) string {
	table := tableIn(t.Schema)
	schema := fmt.Sprintf("create schema %s", pgx.Identifier{t.Schema}.Sanitize())
	if t.Managed {
		schema = "return" // the settings, which follow, refuse it
	}
	return fmt.Sprintf("do $tenantry$ begin if not exists (select from pg_catalog.pg_namespace where nspname = %s) then %s; end if; if pg_catalog.to_regclass(%s) is null then %s; end if; end $tenantry$; ",
		driver.Literal(t.Schema), schema, driver.Literal(string(table)), table.createSQL())
}
