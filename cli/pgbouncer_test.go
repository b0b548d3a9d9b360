//go:build integration

package cli_test

import (
	"testing"

	"github.com/tenantry/tenantry/cli"
	"github.com/tenantry/tenantry/internal/pgbouncer"
	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
)

func TestPsqlIsRefusedWhereAPoolerStandsInBetween(t *testing.T) {
	t.Parallel()
	direct := pgtest.Database(t)
	change(t, direct, "create schema tenant_acme")
	through := pgbouncer.Start(t, pgbouncer.Config{Target: direct, PoolSize: 2}).DSN(direct)
	run(t, onSchemas(through, nil), "psql", "acme").mustEnd(t, cli.ExitError, "a connection pooler stands in front of the database")
	r := run(t, onSchemas(through, nil), "exec", "--tenant", "acme", "select current_schema()")
	r.mustEnd(t, cli.ExitOK)
	mustContain(t, r.out, "acme    tenant_acme\n")
}
