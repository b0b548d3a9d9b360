package tenanttest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math/big"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tenantry/tenantry/internal/pgerr"
)

// life tells other processes that this one lives. It is an advisory lock, which the
// server lets go when the connection that holds it ends. All schemas of the factory
// bear its key in their comment, from the transaction on that makes them.
type life struct {
	key  int64
	conn *pgxpool.Conn
}

// markOf returns the comment of the schemas of a life.
func markOf(key int64) string { return fmt.Sprintf("tenanttest %d", key) }

// begin locks a random key.
func begin(ctx context.Context, pool *pgxpool.Pool) (*life, error) {
	n, err := rand.Int(rand.Reader, big.NewInt(1e18)) // 18 digits: what marked reads
	if err != nil {
		return nil, fmt.Errorf("tenanttest: %w", err)
	}
	conn, err := pool.Acquire(ctx)
	if err != nil {
		return nil, fmt.Errorf("tenanttest: connect: %w", err)
	}
	l := &life{key: n.Int64(), conn: conn}
	if err := l.lock(ctx); err != nil {
		l.end()
		return nil, fmt.Errorf("tenanttest: %w", err)
	}
	return l, nil
}

// lock refuses a pooler: there, the lock could outlive the process, and be lost
// while it lives.
func (l *life) lock(ctx context.Context) error {
	var pid uint32
	err := l.conn.QueryRow(ctx, "select pg_catalog.pg_backend_pid() from pg_catalog.set_config('idle_session_timeout', '0', false), pg_catalog.pg_advisory_lock($1)", l.key).Scan(&pid)
	if err == nil && pid != l.conn.Conn().PgConn().PID() {
		err = errors.New("the connection goes through a pooler: connect to PostgreSQL itself")
	}
	return err
}

// end ends the session, and the lock with it.
func (l *life) end() {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	_ = l.conn.Hijack().Close(ctx)
}

// marked is a condition for pg_namespace n: its schema is a factory's, which this
// role may drop. key is the factory's.
const marked = "from pg_catalog.pg_namespace n, " +
	"lateral (select pg_catalog.substring(pg_catalog.obj_description(n.oid, 'pg_namespace'), '^tenanttest ([0-9]{1,18})$')::pg_catalog.int8 as key) m " +
	"where m.key is not null and pg_catalog.pg_has_role(n.nspowner, 'usage')"

// sweep drops the schemas of factories whose process has ended.
func sweep(ctx context.Context, pool *pgxpool.Pool) error {
	rows, err := pool.Query(ctx, "select distinct m.key "+marked)
	if err != nil {
		return fmt.Errorf("tenanttest: look for left-overs: %w", err)
	}
	keys, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return fmt.Errorf("tenanttest: look for left-overs: %w", err)
	}
	for _, key := range keys {
		if err := bury(ctx, pool, key); err != nil {
			return err
		}
	}
	return nil
}

// bury drops the schemas of a factory if it is dead. It holds the dead's lock
// meanwhile, so that only one process does. What is in use still, because the server
// works off a statement of the dead, is left to the next.
func bury(ctx context.Context, pool *pgxpool.Pool, key int64) error {
	conn, err := pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("tenanttest: connect: %w", err)
	}
	l := &life{key: key, conn: conn}
	defer l.end()
	var dead bool
	err = conn.QueryRow(ctx, "select pg_catalog.pg_try_advisory_lock($1)", key).Scan(&dead)
	if err != nil {
		return fmt.Errorf("tenanttest: look for left-overs: %w", err)
	}
	if !dead {
		return nil
	}
	if err := dropAll(ctx, pool, key); !pgerr.Is(err, pgerr.LockNotAvailable) {
		return err
	}
	return nil
}

// dropAll drops the schemas of one factory, each in a transaction of its own: the
// locks of many would not fit into PostgreSQL's table.
func dropAll(ctx context.Context, pool *pgxpool.Pool, key int64) error {
	rows, err := pool.Query(ctx, "select n.nspname "+marked+" and m.key = $1", key)
	if err != nil {
		return fmt.Errorf("tenanttest: look for schemas: %w", err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return fmt.Errorf("tenanttest: look for schemas: %w", err)
	}
	var errs []error
	for _, name := range names {
		errs = append(errs, (&schema{name: name}).drop(ctx, pool))
	}
	return errors.Join(errs...)
}
