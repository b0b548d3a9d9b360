package migrator

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"

	"github.com/tenantry/tenantry/internal/driver"
	"github.com/tenantry/tenantry/scope"
)

const (
	// chunk is how many schemas one statement reads: each costs a lock.
	chunk = 300

	// placing is how many tenants are placed at a time. A catalog answers those that ask
	// together by one query.
	placing = 64
)

// truths is what tracking tables say: what is applied, sorted, by tenant. A
// tenant without a table has nothing applied.
type truths struct {
	mu      sync.Mutex // guards the maps
	applied map[scope.Tenant][]string
	errs    map[scope.Tenant]error
}

func (t *truths) set(tenant scope.Tenant, applied []string, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err != nil {
		t.errs[tenant] = describe("read the migrations of", tenant, err)
		return
	}
	t.applied[tenant] = applied
}

// located is a tenant and its schema.
type located struct {
	tenant scope.Tenant
	schema string
}

// read reads the tracking tables of tenants: those in one database by a statement
// for every few hundred.
func (m *Migrator) read(ctx context.Context, tenants []Tenant) (*truths, error) {
	out := &truths{applied: map[scope.Tenant][]string{}, errs: map[scope.Tenant]error{}}
	var group errgroup.Group
	group.SetLimit(m.concurrency)
	for _, together := range m.place(ctx, tenants, out) {
		group.Go(func() error { m.readTogether(ctx, together, out); return nil })
	}
	_ = group.Wait() // errors are the tenants'
	return out, context.Cause(ctx)
}

// place finds out where tenants are, and returns those that can be read together,
// a chunk each. No place is held while another is looked for: a pool map may have
// room for few. The first tenant of a pool is read at once: it may be alone there, and
// the pool be closed for the next.
func (m *Migrator) place(ctx context.Context, tenants []Tenant, out *truths) [][]located {
	var mu sync.Mutex // guards byPool
	byPool := map[*pgxpool.Pool][]located{}
	var group errgroup.Group
	group.SetLimit(placing)
	for _, t := range tenants {
		group.Go(func() error {
			target, err := m.locate(ctx, t.ID)
			if err != nil {
				out.set(t.ID, nil, err)
				return nil
			}
			here := located{t.ID, target.Schema}
			mu.Lock()
			others, seen := byPool[target.Pool]
			if !seen && target.Lease != nil {
				byPool[target.Pool] = nil
			} else {
				byPool[target.Pool] = append(others, here)
			}
			mu.Unlock()
			if !seen && target.Lease != nil {
				m.readHalves(ctx, target, []located{here}, out)
				return nil
			}
			release(target)
			return nil
		})
	}
	_ = group.Wait() // errors are the tenants'
	var together [][]located
	for _, all := range byPool {
		for len(all) > 0 {
			n := min(len(all), chunk)
			together = append(together, all[:n])
			all = all[n:]
		}
	}
	return together
}

// locate places a tenant as a migration is: as the administrator, and suspended
// ones, too.
func (m *Migrator) locate(ctx context.Context, t scope.Tenant) (driver.Target, error) {
	return m.connector.Locator.Locate(placed(scope.With(ctx, t)), driver.Scope{Tenant: t})
}

func release(t driver.Target) {
	if t.Lease != nil {
		t.Lease.Release()
	}
}

// readTogether reads tenants of one database.
func (m *Migrator) readTogether(ctx context.Context, all []located, out *truths) {
	target, err := m.locate(ctx, all[0].tenant)
	if err != nil {
		out.set(all[0].tenant, nil, err)
		if len(all) > 1 {
			m.readTogether(ctx, all[1:], out)
		}
		return
	}
	m.readHalves(ctx, target, all, out)
}

// readHalves reads tenants of one database, and if that fails for one of them, in
// halves. It gives the place back.
func (m *Migrator) readHalves(ctx context.Context, target driver.Target, all []located, out *truths) {
	var found map[scope.Tenant][]string
	err := m.connector.Lend(ctx, &target, func(c *pgx.Conn) (err error) {
		found, err = readTables(ctx, c, all)
		return err
	})
	switch {
	case err == nil:
		for _, l := range all {
			out.set(l.tenant, sorted(found[l.tenant]), nil)
		}
	case len(all) == 1 || ctx.Err() != nil:
		for _, l := range all {
			out.set(l.tenant, nil, err)
		}
	default:
		m.readTogether(ctx, all[:len(all)/2], out)
		m.readTogether(ctx, all[len(all)/2:], out)
	}
}

// readTables reads the tables that exist.
func readTables(ctx context.Context, c *pgx.Conn, all []located) (map[scope.Tenant][]string, error) {
	names := make([]string, len(all))
	for i, l := range all {
		if l.schema == "" {
			return nil, fmt.Errorf("migrator: the strategy names no schema for tenant %q, so its tracking table can't be found", l.tenant)
		}
		names[i] = string(tableIn(l.schema))
	}
	rows, err := c.Query(ctx, "select n - 1 from unnest($1::text[]) with ordinality as t(name, n) where pg_catalog.to_regclass(name) is not null", names)
	if err != nil {
		return nil, err
	}
	there, err := pgx.CollectRows(rows, pgx.RowTo[int])
	if err != nil || len(there) == 0 {
		return nil, err
	}
	selects := make([]string, len(there))
	for i, n := range there {
		selects[i] = "select " + strconv.Itoa(n) + ", id from " + names[n]
	}
	rows, err = c.Query(ctx, strings.Join(selects, " union all "))
	if err != nil {
		return nil, err
	}
	found := map[scope.Tenant][]string{}
	var n int
	var id string
	_, err = pgx.ForEachRow(rows, []any{&n, &id}, func() error {
		found[all[n].tenant] = append(found[all[n].tenant], id)
		return nil
	})
	return found, err
}
