package doctor_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tenantry/tenantry/doctor"
	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
	"github.com/tenantry/tenantry/plugin"
)

// leading opens a pool of which a hook gives every connection a default path.
func leading(t *testing.T, path string) *system {
	t.Helper()
	s := on(t, pgtest.DSN(t))
	s.plant(t, "alter role "+s.login+" nocreaterole")
	s.open(t, s.dsn, plugin.BySchema(), plugin.WithPoolConfig(func(c *pgxpool.Config) error {
		c.AfterConnect = func(ctx context.Context, c *pgx.Conn) error {
			_, err := c.Exec(ctx, "set search_path = "+path)
			return err
		}
		return nil
	}))
	return s
}

func TestABasePathThatLeadsToTablesIsAProblem(t *testing.T) {
	t.Parallel()
	s := leading(t, "public")
	s.plant(t, "create table public.plans (id bigint)")
	mustSay(t, s.mustFind(t, []string{"base-path"}), doctor.Problem, "schema public, where there are 1 relation", "AfterConnect")
}

func TestABasePathWhereTablesCanBeMadeIsAWarning(t *testing.T) {
	t.Parallel()
	s := leading(t, "missing, public")
	mustSay(t, s.mustFind(t, []string{"base-path"}), doctor.Warning, "schema public", "no place to make one")
}

func TestABasePathThatLeadsNowhereIsInOrder(t *testing.T) {
	t.Parallel()
	s := leading(t, "empty")
	s.plant(t, "create schema empty", "grant usage on schema empty to "+s.login)
	s.mustFind(t, nil)
}

func TestWhereEverybodyMayMakeTablesIsAWarning(t *testing.T) {
	t.Parallel()
	s := withCatalog(t, pgtest.DSN(t))
	s.plant(t, "grant create on schema public to public")
	mustSay(t, s.mustFind(t, []string{"public-create"}), doctor.Warning, "revoke create on schema \"public\"")
}

func TestTablesInPublicThatNobodyUsesAreAWarning(t *testing.T) {
	t.Parallel()
	s := on(t, pgtest.DSN(t))
	s.plant(t, "alter role "+s.login+" nocreaterole", "create schema core authorization "+s.login, "create table public.invoices (id bigint)")
	s.open(t, s.dsn, plugin.BySchema(plugin.WithSharedScope("core")))
	mustSay(t, s.mustFind(t, []string{"public-tables"}), doctor.Warning, "1 table (invoices)", "WithSharedScope")
}
