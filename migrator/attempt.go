package migrator

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"gorm.io/gorm"

	"github.com/tenantry/tenantry/internal/driver"
	"github.com/tenantry/tenantry/internal/pgerr"
	"github.com/tenantry/tenantry/internal/sqltext"
	"github.com/tenantry/tenantry/scope"
)

// attempt is the work on one place: a tenant's, or that of the shared tables.
type attempt struct {
	ctx      context.Context // names the tenant, or the shared scope
	lock     string          // SQL of the key of its advisory lock; "" if newPlace.Begin locks
	known    bool            // its tracking table was seen once
	newPlace *NewPlace       // nil for a place that may be in use

	// listed is what is applied according to the ledger, sorted; nil if the ledger may be
	// out of date. If it is set, the steps begin before the tracking table was read, and
	// are rolled back if the table says otherwise.
	listed []string

	// steps says what is to be done, given what is applied.
	steps func(applied []string) ([]step, error)

	// ready waits, under the lock, until the work may begin; nil if it may.
	ready func(context.Context) error
}

// newAttempt returns the attempt at a tenant. known says that it has a tracking table.
func newAttempt(ctx context.Context, t scope.Tenant, known bool, steps func([]string) ([]step, error)) attempt {
	return attempt{
		ctx:   scope.With(ctx, t),
		lock:  "pg_catalog.hashtextextended('tenantry/migrator/" + t.String() + "', 0)",
		known: known,
		steps: steps,
	}
}

// attemptResult is what an attempt has done.
type attemptResult struct {
	applied []string // what is applied now, sorted; nil if that isn't known
	done    []step
	did     func(step) // called for each step that is committed
}

// busyWords is what BEGIN says if it can't have the tenant's lock, as part of
// PostgreSQL's message.
const busyWords = "tenantry: another process is at work on the tenant"

// isBusy reports whether BEGIN could not have the tenant's lock.
func isBusy(err error) bool {
	return driver.Refuses(err, busyWords)
}

// runAttempt does all steps of an attempt: in one transaction, interrupted only by steps
// that can't run in one. A last transaction follows such a step, if only to find that
// there is nothing left to do.
func (e *executor) runAttempt(a attempt, out *attemptResult) error {
	for {
		part, next, err := e.transact(a)
		var lost *lostCommit
		if errors.As(err, &lost) && a.ctx.Err() == nil {
			part, next, err = e.resolveLostCommit(a, lost)
		}
		out.add(part)
		if err != nil || next == nil {
			return err
		}
		a.listed = nil // out of date after the first transaction
		part, err = e.runNonTransactional(a, *next)
		out.add(part)
		if err != nil {
			return err
		}
	}
}

// lostCommit says that the connection broke during COMMIT: whether it took effect is
// unknown.
type lostCommit struct {
	err  error
	out  attemptResult // what was to be committed
	next *step
}

func (l *lostCommit) Error() string { return l.err.Error() }
func (l *lostCommit) Unwrap() error { return l.err }

// beginError says that the connection broke before the transaction began: nothing ran.
type beginError struct{ err error }

func (b *beginError) Error() string { return b.err.Error() }
func (b *beginError) Unwrap() error { return b.err }

// isBroken reports whether err says that a connection of the pool broke before the
// transaction began: the pool does not notice at once that the server, or a proxy, has
// closed it. That no connection could be opened, or no place found for the tenant, is
// another error.
func isBroken(err error) bool {
	var u *beginError
	var failed *scope.TenantError
	return errors.As(err, &u) && errors.As(u.err, &failed) && failed.Op == "begin"
}

// resolveLostCommit finds out whether a COMMIT without an answer took effect. If it did
// not, the steps are done once more: nothing of them is left.
func (e *executor) resolveLostCommit(v attempt, lost *lostCommit) (attemptResult, *step, error) {
	v.listed = nil // the ledger does not know either
	out, next, err := e.transact(v)
	if err == nil && len(out.done) == 0 && slices.Equal(out.applied, lost.out.applied) {
		return lost.out, lost.next, nil
	}
	return out, next, err
}

// add adds what a part of the work has done.
func (v *attemptResult) add(part attemptResult) {
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
func (e *executor) transact(v attempt) (out attemptResult, next *step, err error) {
	for try := 1; ; try++ {
		err = insist(v.ctx, isBroken, func() error {
			out, next, err = e.tryTransact(v)
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
			e.logger.Warn("migrator: another session holds the lock of a tenant, maybe of a process that hangs", slog.Any("error", err))
		}
		if err := wait(v.ctx, pause(min(try, maxTries))); err != nil {
			return out, nil, err
		}
	}
}

// errListed says that the ledger's list is not the tenant's.
var errListed = errors.New("the tenant has other migrations than the ledger says")

// tryTransact needs two round trips besides those of the steps: BEGIN, which also
// reads what is applied, and COMMIT, which also records. If the ledger's list can be
// relied on, BEGIN goes with the first step.
func (e *executor) tryTransact(v attempt) (out attemptResult, next *step, err error) {
	var table trackingTable
	var settings, pathCheck string
	before := v.listed
	begun, performed := false, false
	var refused error
	ctx := driver.WithPreamble(v.ctx, func(t *driver.Target) driver.Preamble {
		begun, refused = false, nil // database/sql may try another connection
		settings, pathCheck = t.SettingsSQL(), t.PathCheckSQL()
		p := v.preamble(t)
		p.Query = e.limits()
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
			p.Later = v.listed != nil && v.ready == nil && v.newPlace == nil
			p.Refused = func(err error) { begun, refused = false, err }
		}
		return p
	})
	ctx = driver.WithEpilogue(ctx, func() string {
		if len(out.done) == 0 {
			return ""
		}
		// The last step may have moved search_path: triggers of deferred constraints
		// run in COMMIT.
		return settings + table.record(out.done) + "; " + pathCheck
	})
	err = e.db.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
		// From here on without the preamble: a migration may begin other
		// transactions with this context. The statement is this transaction's alone.
		tx.Statement.Context = v.ctx
		if err := v.begin(tx); err != nil {
			return err
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
		out, next, err = e.perform(tx, v, before)
		if err == nil && next == nil {
			err = v.finish(tx)
		}
		performed = err == nil
		return err
	}, &sql.TxOptions{Isolation: sql.LevelReadCommitted}) // what is seen after the lock is what the lock protects
	if refused != nil {
		err = refused
	}
	if err != nil && !begun && v.known && pgerr.Is(err, pgerr.UndefinedTable, pgerr.InvalidSchemaName) {
		err = fmt.Errorf("%w: the ledger knows of migrations of the tenant, but its tracking table is gone, or its whole schema: restore it from a backup, or call Verify if the tenant is to begin anew", err)
	}
	if err != nil && !begun && isLost(err) && !errors.Is(err, errListed) {
		err = &beginError{err}
	}
	if err != nil && performed && isLost(err) {
		err = &lostCommit{err: err, out: out, next: next}
	}
	if err != nil {
		return attemptResult{}, nil, err
	}
	return out, next, nil
}

// isLost reports whether err says that a connection broke, and not that PostgreSQL
// has refused: 57P01 and its like end a session, not the work.
func isLost(err error) bool {
	return pgerr.Code(err) == "" || pgerr.In(err, pgerr.OperatorIntervention, pgerr.ConnectionException)
}

// begin waits, under the lock, until the work in tx may begin.
func (v *attempt) begin(tx *gorm.DB) error {
	if v.newPlace != nil && v.newPlace.Begin != nil {
		return v.newPlace.Begin(tx)
	}
	if v.ready != nil {
		return v.ready(v.ctx)
	}
	return nil
}

// finish ends the work in the last transaction.
func (v *attempt) finish(tx *gorm.DB) error {
	if v.newPlace != nil && v.newPlace.Finish != nil {
		return v.newPlace.Finish(tx)
	}
	return nil
}

// perform does the steps in tx, up to the first that can't run there. Each step begins
// with the tenant's settings and the migrator's limits, whatever the one before it set.
func (e *executor) perform(tx *gorm.DB, v attempt, before []string) (out attemptResult, next *step, err error) {
	steps, err := v.steps(before)
	if err != nil {
		return out, nil, err
	}
	for i, s := range steps {
		if err := e.separate(tx, i, len(steps)); err != nil {
			return attemptResult{}, nil, err
		}
		session, err := forMigration(tx)
		if err != nil {
			return attemptResult{}, nil, err
		}
		start := time.Now()
		err = s.run(session)
		s.took = time.Since(start)
		if err == nil {
			err = s.describe(tellDriver(tx, driver.CheckTransaction{}))
		}
		if errors.Is(err, errOutside) {
			next = &s
			break
		}
		if err != nil {
			return attemptResult{}, nil, err
		}
		out.done = append(out.done, s)
	}
	if v.newPlace != nil && v.newPlace.Finish != nil && len(out.done) > 0 {
		if err := tellDriver(tx, driver.SettingsAgain(e.laterLimits())); err != nil {
			return attemptResult{}, nil, err
		}
	}
	out.applied = after(before, out.done)
	return out, next, nil
}

// separate keeps step i of n apart from the one before it: the settings are set again, and
// the savepoints of the step before are released, so that this one can't roll back what the
// other did. That takes a savepoint around each step, unless there is only one.
func (e *executor) separate(tx *gorm.DB, i, n int) error {
	const begin, end = "savepoint tenantry_step", "release savepoint tenantry_step; "
	switch {
	case n == 1:
		return nil
	case i == 0:
		return execute(tx, begin)
	}
	return tellDriver(tx, driver.SettingsAgain(end+e.laterLimits()+begin))
}

// tellDriver tells the driver something by way of the connection of db.
func tellDriver(db *gorm.DB, what any) error {
	_, err := db.Statement.ConnPool.ExecContext(db.Statement.Context, "-- "+reflect.TypeOf(what).Name(), what)
	return err
}

// briefly is how long a step waits for a lock while the transaction holds those of
// the steps before it: less than the second after which PostgreSQL looks for deadlocks,
// so that in one with the application it is the migration that gives way.
const briefly = 500 * time.Millisecond

// laterLimits are the limits of the steps behind the first.
func (e *executor) laterLimits() string {
	brief := *e
	if e.lockTimeout == 0 || e.lockTimeout > briefly {
		brief.lockTimeout = briefly
	}
	return brief.limits()
}

// preamble locks the tenant against other migrators until the end of the
// transaction, and makes sure that schema and table exist. The lock comes first: two sessions that create one
// schema at a time collide in spite of IF NOT EXISTS. A session's lock would leak
// through a transaction pooler, and one that is waited for holds a snapshot meanwhile.
func (v attempt) preamble(t *driver.Target) driver.Preamble {
	if v.lock == "" {
		return driver.Preamble{SQL: v.newPlace.CreateSchema + create(t)}
	}
	lock := "pg_catalog.pg_try_advisory_xact_lock(" + v.lock + ")"
	if t.Schema == "" || v.known {
		return driver.Preamble{Unless: lock, Words: busyWords, Lead: lowDeadlockTimeout}
	}
	return driver.Preamble{SQL: fmt.Sprintf("select %s, %s; %s", driver.RefuseUnless(lock, busyWords), lowDeadlockTimeout, create(t))}
}

// lowDeadlockTimeout makes the migration the one that gives way in a deadlock with the
// application, as it looks for one first: it is tried again, and no request fails. It
// takes a right that superusers have and others can be granted.
const lowDeadlockTimeout = "case when pg_catalog.has_parameter_privilege('deadlock_timeout', 'set') then pg_catalog.set_config('deadlock_timeout', '50ms', true) end"

// limits are the same as limited, for the rest of a transaction. SET takes the server
// less time than a function in a query, which is planned.
func (e *executor) limits() string {
	return "set local lock_timeout = " + strconv.FormatInt(e.lockTimeout.Milliseconds(), 10) +
		"; set local statement_timeout = " + strconv.FormatInt(e.statementTimeout.Milliseconds(), 10) + "; "
}

// limited returns a context whose statements wait and run only so long.
func (e *executor) limited(ctx context.Context) context.Context {
	return driver.WithSettings(ctx,
		driver.Setting{Name: "lock_timeout", Value: strconv.FormatInt(e.lockTimeout.Milliseconds(), 10)},
		driver.Setting{Name: "statement_timeout", Value: strconv.FormatInt(e.statementTimeout.Milliseconds(), 10)})
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
		sqltext.Literal(t.Schema), schema, sqltext.Literal(string(table)), table.createSQL())
}
