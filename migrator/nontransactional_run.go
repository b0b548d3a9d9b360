package migrator

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"gorm.io/gorm"

	"github.com/tenantry/tenantry/internal/driver"
	"github.com/tenantry/tenantry/internal/guard"
)

// cleanUpLimit is how long dropping what a failed migration left may take, when
// the run has ended meanwhile.
const cleanUpLimit = 20 * time.Second

// databaseLock is held while a step runs outside of a transaction. Advisory locks
// are each database's own.
const databaseLock = "pg_catalog.hashtextextended('tenantry/outside', 0)"

// runNonTransactional does one step outside of a transaction, alone in the database, and
// leaves no invalid index behind. At a new place there are no such indexes, and others
// may be at work in the database.
func (e *executor) runNonTransactional(v attempt, s step) (out attemptResult, err error) {
	if v.newPlace != nil {
		err := e.pinned(v.ctx, func(c *gorm.DB) error {
			if err := v.begin(c); err != nil {
				return err
			}
			out, err = performOutside(c.WithContext(v.ctx), v, s)
			return err
		})
		return out, err
	}
	begun := false
	err = e.withSessionLocks(v, func(c *gorm.DB) error {
		begun = true
		if err := dropInvalid(c); err != nil {
			return s.describe(err)
		}
		out, err = performOutside(c, v, s)
		return err
	})
	if err == nil || !begun {
		return out, err
	}
	// Its connection is gone if the context has ended.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(v.ctx), cleanUpLimit)
	defer cancel()
	v.ctx = ctx
	if left := e.withSessionLocks(v, dropInvalid); left != nil {
		err = errors.Join(err, fmt.Errorf("and the invalid indexes that it may have left could not be dropped, which the next run does: %w", left))
	}
	return out, err
}

// performOutside does a step on the pinned connection c, and records it.
func performOutside(c *gorm.DB, v attempt, s step) (out attemptResult, err error) {
	table, err := tableOf(c)
	if err != nil {
		return out, err
	}
	before, err := table.applied(c)
	if err != nil {
		return out, err
	}
	steps, err := v.steps(before)
	if err != nil || len(steps) == 0 || steps[0].migration.ID != s.migration.ID {
		return out, err // another process has done it meanwhile
	}
	locked, err := backend(c)
	if err != nil {
		return out, err
	}
	start := time.Now()
	if err := runPinned(c, v, s); err != nil {
		return out, err
	}
	s.took = time.Since(start)
	if now, err := backend(c); err != nil || now != locked {
		return out, errors.Join(err, s.describe(errLockLost))
	}
	if left, err := invalid(c); err != nil || len(left) > 0 {
		return out, errors.Join(err, s.describe(fmt.Errorf("it has left the invalid indexes %v", left)))
	}
	done := []step{s}
	if err := execute(c, table.record(done)); err != nil {
		return out, err
	}
	return attemptResult{applied: after(before, done), done: done}, nil
}

// runPinned calls the step with the pinned connection c, and makes sure that the step left
// no transaction open there: what follows would be lost with it.
func runPinned(c *gorm.DB, v attempt, s step) error {
	ended, end := context.WithCancel(context.Background())
	defer end()
	session := c.Session(&gorm.Session{NewDB: true, Context: v.ctx})
	session.Statement.ConnPool = &pinnedConn{
		ConnPool: c.Statement.ConnPool, Seal: guard.Sealed(c.Statement.ConnPool), ended: ended, newPlace: v.newPlace != nil,
	}
	if err := s.run(session); err != nil {
		return err
	}
	return s.describe(tellDriver(c, driver.RefuseControl{}))
}

// errLockLost says that a step has ended its session, and with it the locks.
var errLockLost = errors.New("its connection was closed in the middle, by a statement whose context ended or by one in another scope: nothing is recorded, and the next run calls it again")

// backend returns which session c is.
func backend(c *gorm.DB) (pid int, err error) {
	err = c.Raw("select pg_catalog.pg_backend_pid()").Scan(&pid).Error
	return pid, err
}

// pinned calls f with a connection that refuses text that begins or ends a transaction:
// what follows it, up to the record of the step, would be lost with the transaction.
func (e *executor) pinned(ctx context.Context, f func(*gorm.DB) error) error {
	return e.db.WithContext(placed(e.limited(ctx))).Connection(func(c *gorm.DB) error {
		if err := tellDriver(c, driver.RefuseControl{}); err != nil {
			return err
		}
		return f(c)
	})
}

// withSessionLocks calls f with a session that holds the lock of the database and that
// of the tenant. Its connection is closed afterwards, and the locks go with it: when the
// server still works for a process that is gone, they are still held.
func (e *executor) withSessionLocks(v attempt, f func(*gorm.DB) error) error {
	return e.pinned(v.ctx, func(c *gorm.DB) error {
		// The database's lock comes last: who has it waits for nobody who needs it.
		if err := lockSession(c, v.lock); err != nil {
			return err
		}
		if err := v.begin(c); err != nil {
			return err
		}
		if err := lockSession(c, databaseLock); err != nil {
			return err
		}
		c = c.WithContext(v.ctx)
		return f(c)
	})
}

// placed returns a context under which statements are placed as a migration is: as
// the administrator, and those of suspended tenants, too.
func placed(ctx context.Context) context.Context {
	return driver.WithPreamble(ctx, func(*driver.Target) driver.Preamble { return driver.Preamble{} })
}

// lockSession waits for the lock without holding a snapshot: CREATE INDEX
// CONCURRENTLY waits for all that are held in its database.
func lockSession(c *gorm.DB, key string) error {
	for try := 1; ; try++ {
		var locked bool
		if err := c.Raw("select pg_catalog.pg_try_advisory_lock(" + key + ")").Scan(&locked).Error; err != nil {
			return fmt.Errorf("lock for a migration outside of a transaction, which takes a direct connection (see WithDirect): %w", err)
		} else if locked {
			return nil
		}
		if err := wait(c.Statement.Context, pause(min(try, maxTries))); err != nil {
			return err
		}
	}
}

// invalid returns the indexes of the tenant's schema that are neither valid nor
// being built by any session now: the build of another role shows only in pg_locks.
func invalid(c *gorm.DB) (names []string, err error) {
	err = c.Raw(`select c.relname from pg_catalog.pg_index i
		join pg_catalog.pg_class c on c.oid = i.indexrelid and c.relkind = 'i' and c.relnamespace = pg_catalog.current_schema()::pg_catalog.regnamespace
		where not i.indisvalid and not exists (select from pg_catalog.pg_stat_progress_create_index p where p.index_relid = i.indexrelid)
		and not exists (select from pg_catalog.pg_locks l where l.relation = i.indrelid and l.mode = 'ShareUpdateExclusiveLock' and l.pid <> pg_catalog.pg_backend_pid()
			and l.database = (select d.oid from pg_catalog.pg_database d where d.datname = pg_catalog.current_database()))`).Scan(&names).Error
	return names, err
}

func dropInvalid(c *gorm.DB) error {
	names, err := invalid(c)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := c.Exec("drop index concurrently if exists " + pgx.Identifier{name}.Sanitize()).Error; err != nil {
			return fmt.Errorf("drop the invalid index %q, which an earlier try has left: %w", name, err)
		}
	}
	return nil
}
