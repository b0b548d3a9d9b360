package doctor

import (
	"context"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/tenantry/tenantry/catalog"
	"github.com/tenantry/tenantry/internal/driver"
	"github.com/tenantry/tenantry/internal/pgerr"
	"github.com/tenantry/tenantry/scope"
)

// paths is where statements look for tables, by the strategy's own account.
type paths struct {
	scope  []string // of scope.Shared
	behind []string // behind a tenant's own schema
}

// shared returns all schemas that are no tenant's.
func (p paths) shared() []string { return slices.Concat(p.scope, p.behind) }

// readPaths asks the strategy where the shared scope and the tenants have their
// statements run.
func (e *exam) readPaths(ctx context.Context, c *pgx.Conn) error {
	target, err := e.locate(scope.Shared(ctx), driver.Scope{Shared: true})
	if err != nil {
		return err
	}
	if e.paths.scope, err = searched(ctx, c, target); err != nil {
		return err
	}
	target, found, err := e.someTenant(ctx, c)
	if err != nil || !found {
		return err
	}
	path, err := searched(ctx, c, target)
	e.paths.behind = slices.DeleteFunc(path, func(s string) bool { return s == target.Schema })
	return err
}

// locate asks the strategy for a place, of which nothing is kept.
func (e *exam) locate(ctx context.Context, s driver.Scope) (driver.Target, error) {
	target, err := e.connector.Locator.Locate(ctx, s)
	if err == nil && target.Lease != nil {
		target.Lease.Release()
	}
	return target, err
}

// someTenant returns where one tenant lives that has a schema in the base pool's
// database: all of them have the same schemas behind their own.
func (e *exam) someTenant(ctx context.Context, c *pgx.Conn) (driver.Target, bool, error) {
	candidates, err := e.candidates(ctx, c)
	if err != nil {
		return driver.Target{}, false, err
	}
	for _, t := range candidates {
		// One that the strategy can't place is not for this check to tell.
		target, err := e.locate(scope.With(ctx, t), driver.Scope{Tenant: t})
		if err == nil && target.Pool == e.connector.Base && target.Schema != "" {
			return target, true, nil
		}
	}
	return driver.Target{}, false, ctx.Err()
}

// candidates returns a few tenants that may live in the base pool's database.
func (e *exam) candidates(ctx context.Context, c *pgx.Conn) (found []scope.Tenant, err error) {
	for _, t := range e.tenants {
		if t.State == catalog.Active && e.inBase(t) && len(found) < listed {
			found = append(found, t.ID)
		}
	}
	if e.catalog != nil {
		return found, nil
	}
	names, err := texts(ctx, c, "select nspname::text from pg_catalog.pg_namespace where pg_catalog.starts_with(nspname::text, $1) order by 1 limit $2", e.prefix, listed)
	for _, n := range names {
		if t, invalid := scope.Parse(strings.TrimPrefix(n, e.prefix)); invalid == nil {
			found = append(found, t)
		}
	}
	return found, err
}

// searched returns the schemas of the search_path of a place, as PostgreSQL reads it
// there: as the tenant's role, unless that is gone or the login may not become it: another
// check tells that.
func searched(ctx context.Context, c *pgx.Conn, t driver.Target) (path []string, err error) {
	path, err = searchedUnder(ctx, c, t.Settings, "search_path", "role")
	if pgerr.Is(err, pgerr.InsufficientPrivilege, pgerr.InvalidParameterValue) {
		path, err = searchedUnder(ctx, c, t.Settings, "search_path")
	}
	return path, err
}

// searchedUnder is searched under the settings of these names.
func searchedUnder(ctx context.Context, c *pgx.Conn, settings []driver.Setting, names ...string) (path []string, err error) {
	err = pgx.BeginFunc(ctx, c, func(tx pgx.Tx) error {
		for _, s := range settings {
			if !slices.Contains(names, s.Name) {
				continue
			}
			if _, err := tx.Exec(ctx, "select pg_catalog.set_config($1, $2, true)", s.Name, s.Value); err != nil {
				return err
			}
		}
		return tx.QueryRow(ctx, "select pg_catalog.current_schemas(false)::pg_catalog.text[]").Scan(&path)
	})
	return slices.DeleteFunc(path, func(s string) bool { return strings.HasPrefix(s, "pg_") }), err
}

// isShared reports whether a schema is no tenant's by the strategy's account.
func (e *exam) isShared(schema string) bool { return slices.Contains(e.paths.shared(), schema) }
