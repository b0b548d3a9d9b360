package migrator

import (
	"context"
	"crypto/rand"
	_ "embed"
	"fmt"
	"os"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/semaphore"

	"github.com/tenantry/tenantry/internal/driver"
	"github.com/tenantry/tenantry/internal/pgerr"
	"github.com/tenantry/tenantry/scope"
)

// ledgerConns is how many connections a call has to the ledger: one for claims and
// results, and one that tells that the process is alive whatever the other does. A new
// connection takes the server longer than a hundred claims.
const ledgerConns = 2

//go:embed ledger.sql
var ledgerSQL string

// ledgerLock is the advisory lock under which runs begin, and fleetLock the one
// that claims share and the migrations of the shared tables have for themselves.
const (
	ledgerLock = "pg_catalog.hashtextextended('tenantry/ledger', 0)"
	fleetLock  = "pg_catalog.hashtextextended('tenantry/fleet', 0)"
)

// ledger is what is known of the fleet, in the master database. It is open for
// one call of a Migrator.
type ledger struct {
	target *driver.Target
	worker string // names this call among all that share a run
	lease  time.Duration
	turn   *semaphore.Weighted // of claims and results
}

// openLedger opens connections of its own: those of the application, or of the
// migrations, could all be in use when it must tell that it is alive.
func openLedger(ctx context.Context, cfg *pgxpool.Config, lease time.Duration) (*ledger, error) {
	cfg.MaxConns, cfg.MinConns, cfg.MinIdleConns = ledgerConns, 0, 0
	driver.SetFormats(cfg.ConnConfig)
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("migrator: open the ledger: %w", err)
	}
	return &ledger{target: &driver.Target{Pool: pool}, worker: rand.Text(), lease: lease, turn: semaphore.NewWeighted(1)}, nil
}

func (l *ledger) close() { l.target.Pool.Close() }

// startedBy names this process for people.
func startedBy() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown host"
	}
	return fmt.Sprintf("%s, process %d", host, os.Getpid())
}

// do calls f with a connection, and again if PostgreSQL has ended it to resolve a
// deadlock. The first time in a database it makes the tables.
func (l *ledger) do(ctx context.Context, f func(*pgx.Conn) error) error {
	err := l.try(ctx, f)
	for try := 1; pgerr.Is(err, pgerr.DeadlockDetected) && try < maxTries && wait(ctx, pause(try)) == nil; try++ {
		err = l.try(ctx, f)
	}
	switch {
	case pgerr.Is(err, pgerr.InsufficientPrivilege):
		return fmt.Errorf("migrator: the ledger: %w: the user of the connection must own the schema tenantry, or be allowed to create it: see WithDirect", err)
	case err != nil:
		return fmt.Errorf("migrator: the ledger: %w", err)
	}
	return nil
}

func (l *ledger) try(ctx context.Context, f func(*pgx.Conn) error) error {
	err := l.target.Lend(ctx, f)
	if !pgerr.Is(err, pgerr.UndefinedTable, pgerr.InvalidSchemaName) {
		return err
	}
	if err := l.target.Lend(ctx, func(c *pgx.Conn) error { return makeLedger(ctx, c) }); err != nil {
		return err
	}
	return l.target.Lend(ctx, f)
}

// insist is do for what may be done twice: a connection that broke is no reason
// to give up.
func (l *ledger) insist(ctx context.Context, f func(*pgx.Conn) error) error {
	return insist(ctx, isLost, func() error { return l.do(ctx, f) })
}

// inTurn is insist for claims and results.
func (l *ledger) inTurn(ctx context.Context, f func(*pgx.Conn) error) error {
	if err := l.turn.Acquire(ctx, 1); err != nil {
		return err
	}
	defer l.turn.Release(1)
	return l.insist(ctx, f)
}

// lockLedger waits until no other process begins or ends a run.
func lockLedger(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, "select pg_catalog.pg_advisory_xact_lock("+ledgerLock+")")
	return err
}

func makeLedger(ctx context.Context, c *pgx.Conn) error {
	return pgx.BeginFunc(ctx, c, func(tx pgx.Tx) error {
		if err := lockLedger(ctx, tx); err != nil {
			return err
		}
		var made bool // by another process meanwhile: IF NOT EXISTS would lock it all the same
		if err := tx.QueryRow(ctx, "select pg_catalog.to_regclass('tenantry.results') is not null").Scan(&made); err != nil || made {
			return err
		}
		_, err := tx.Exec(ctx, ledgerSQL, pgx.QueryExecModeSimpleProtocol)
		return err
	})
}

// entry is a row of the ledger.
type entry struct {
	incarnation string
	applied     []string // sorted
	list        string   // its fingerprint
	last        string
	state       State
	dead        bool // Running, but its process is not alive any more
	since       time.Time
	run         int64
	attempts    int
	failure     *Failure
}

// book is all that the ledger knows of tenants.
type book map[scope.Tenant]*entry

// entryOf returns what is known of t, or nil: an entry of an earlier tenant of the
// same id says nothing.
func (b book) entryOf(t Tenant) *entry {
	e := b[t.ID]
	if e == nil || e.incarnation != t.Incarnation {
		return nil
	}
	return e
}

// read reads the whole ledger, by two statements however many tenants there are.
func (l *ledger) read(ctx context.Context) (b book, err error) {
	err = l.insist(ctx, func(c *pgx.Conn) error {
		b, err = readBook(ctx, c)
		return err
	})
	return b, err
}

// querier is a connection or a transaction.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// readBook reads the lists last: an entry's is there by then.
func readBook(ctx context.Context, q querier) (book, error) {
	rows, err := q.Query(ctx, `select tenant, incarnation, list, last, state, since, coalesce(run, 0), attempts, failure,
		state = 'running' and not exists (select from tenantry.workers w where w.id = l.worker and w.until > now())
		from tenantry.ledger l`)
	if err != nil {
		return nil, err
	}
	b := book{}
	for rows.Next() {
		var id string
		e := &entry{}
		if err := rows.Scan(&id, &e.incarnation, &e.list, &e.last, &e.state, &e.since, &e.run, &e.attempts, &e.failure, &e.dead); err != nil {
			rows.Close()
			return nil, err
		}
		if t, err := scope.Parse(id); err == nil { // else the table was changed by hand
			b[t] = e
		}
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	lists, err := readLists(ctx, q)
	for _, e := range b {
		e.applied = lists[e.list]
	}
	return b, err
}

func readLists(ctx context.Context, q querier) (map[string][]string, error) {
	rows, err := q.Query(ctx, "select fingerprint, ids from tenantry.lists")
	if err != nil {
		return nil, err
	}
	lists := map[string][]string{}
	for rows.Next() {
		var name string
		var ids []string
		if err := rows.Scan(&name, &ids); err != nil {
			rows.Close()
			return nil, err
		}
		lists[name] = sorted(ids)
	}
	return lists, rows.Err()
}
