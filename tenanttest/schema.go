package tenanttest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tenantry/tenantry/internal/pgerr"
	"github.com/tenantry/tenantry/internal/sqltext"
)

// patience is how long a lock is waited for. By then the contexts of the test have
// ended, and their transactions with them.
const patience = 3 * time.Second

// schema is one that a factory has made. One goroutine at a time uses it.
type schema struct {
	name string // at present
	oid  uint32

	// What the migrations have left. PostgreSQL shows who has written a row last
	// (xmin), in its own catalog, too: two equal looks at it are proof that nothing
	// has changed between them.
	catalog    string
	relations  []relation          // tables and materialized views
	sequences  []relation          // state is how setval sets it
	references map[string][]string // by table, the tables that refer to it

	unfit error // why it can't be used twice, or nil
}

// relation is something in a schema that has contents.
type relation struct {
	name  string
	kind  string // as in pg_class
	state string // of its rows, "" if there are none
}

var (
	errTables = errors.New("the test has changed the tables themselves")
	errSeeds  = errors.New("the test has changed rows that migrations have written")
)

// inside runs f in a transaction that waits for locks only so long, and that sees
// all rows or fails.
func inside(ctx context.Context, pool *pgxpool.Pool, f func(pgx.Tx) error) error {
	return pgx.BeginTxFunc(ctx, pool, pgx.TxOptions{BeginQuery: fmt.Sprintf(
		"begin isolation level read committed; set local lock_timeout = %d; set local row_security = off", patience.Milliseconds())}, f)
}

// reset makes the schema again what the migrations left, under the name of nobody,
// or says why it can't. Whoever still writes to it waits for the locks, and does not find
// the schema by its name then.
func (s *schema) reset(ctx context.Context, pool *pgxpool.Pool) error {
	if s.unfit != nil {
		return s.unfit
	}
	var catalog string
	name := idleName()
	err := inside(ctx, pool, func(tx pgx.Tx) error {
		if err := s.lock(ctx, tx); err != nil {
			return err
		}
		now, dirty, err := s.compare(ctx, tx)
		if err == nil && now != s.catalog {
			err = errTables
		}
		if err == nil && len(dirty) > 0 {
			now, err = s.empty(ctx, tx, dirty)
		}
		if err != nil {
			return err
		}
		catalog = now
		_, err = tx.Exec(ctx, s.rewind()+s.renamed(name), pgx.QueryExecModeSimpleProtocol)
		return err
	})
	if err == nil {
		s.name, s.catalog = name, catalog
	}
	return err
}

// lock keeps everybody out of the tables.
func (s *schema) lock(ctx context.Context, tx pgx.Tx) error {
	var tables []string
	for _, r := range s.relations {
		if r.kind == "r" { // there are no locks on materialized views
			tables = append(tables, s.qualified(r.name))
		}
	}
	_, err := tx.Exec(ctx, "lock table "+strings.Join(tables, ", ")+" in access exclusive mode")
	return err
}

// compare returns the present state of the catalog, and the tables that had no rows and
// have some now.
func (s *schema) compare(ctx context.Context, tx pgx.Tx) (catalog string, dirty []string, err error) {
	states, err := s.states(ctx, tx, s.relations)
	if err != nil {
		return "", nil, err
	}
	for i, r := range s.relations {
		switch {
		case states[i] == r.state:
		case r.state == "" && r.kind == "r":
			dirty = append(dirty, r.name)
		default:
			return "", nil, fmt.Errorf("%w, in %q", errSeeds, r.name)
		}
	}
	return states[len(s.relations)], dirty, nil
}

// empty empties tables, and those that refer to them, which must have been empty, too.
// What a trigger has done meanwhile is found by another look. Truncating writes to the
// catalog, so empty returns its new state.
func (s *schema) empty(ctx context.Context, tx pgx.Tx, tables []string) (catalog string, err error) {
	var names []string
	for i := 0; i < len(tables); i++ {
		names = append(names, s.qualified(tables[i]))
		for _, other := range s.references[tables[i]] {
			if !slices.Contains(tables, other) {
				tables = append(tables, other)
			}
		}
	}
	if _, err := tx.Exec(ctx, "truncate "+strings.Join(names, ", ")); err != nil {
		return "", err
	}
	catalog, dirty, err := s.compare(ctx, tx)
	if err == nil && len(dirty) > 0 {
		err = fmt.Errorf("table %q is not empty after it was truncated", dirty[0])
	}
	return catalog, err
}

// rewind returns SQL that sets all sequences to where the migrations left them.
func (s *schema) rewind() string {
	var sql strings.Builder
	for _, q := range s.sequences {
		fmt.Fprintf(&sql, "select pg_catalog.setval(%s, %s); ", sqltext.Literal(s.qualified(q.name)), q.state)
	}
	return sql.String()
}

// rename gives the schema another name.
func (s *schema) rename(ctx context.Context, pool *pgxpool.Pool, to string) error {
	if _, err := pool.Exec(ctx, s.renamed(to)); err != nil {
		return fmt.Errorf("tenanttest: rename a schema: %w", err)
	}
	s.name = to
	return nil
}

func (s *schema) renamed(to string) string {
	return "alter schema " + pgx.Identifier{s.name}.Sanitize() + " rename to " + pgx.Identifier{to}.Sanitize()
}

// drop drops the schema with everything in it, if it is there.
func (s *schema) drop(ctx context.Context, pool *pgxpool.Pool) error {
	err := inside(ctx, pool, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, "drop schema if exists "+pgx.Identifier{s.name}.Sanitize()+" cascade")
		return err
	})
	if pgerr.Is(err, pgerr.LockNotAvailable) {
		return fmt.Errorf("tenanttest: a transaction on the tenant's tables is still open when the test has ended, roll it back or commit: %w", err)
	}
	if err != nil {
		return fmt.Errorf("tenanttest: drop a schema: %w", err)
	}
	return nil
}

func (s *schema) qualified(name string) string { return pgx.Identifier{s.name, name}.Sanitize() }
