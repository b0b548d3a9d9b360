//go:build integration

package catalog_test

import (
	"fmt"
	"net"
	"strconv"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tenantry/tenantry/catalog"
	"github.com/tenantry/tenantry/internal/isolation"
	"github.com/tenantry/tenantry/internal/pgbouncer"
	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
	"github.com/tenantry/tenantry/plugin"
)

const (
	pooledStatements = 5_000
	pooledAtLeast    = 2_500 // with fewer, it is not certain that a killed backend was at work
	pooledServerPool = 4     // for each pair of user and database
)

// TestIsolationThroughPgBouncer has one PgBouncer in transaction mode in front of all
// databases of a server: tenants with a role, and with a database and a login, share
// few backends. The catalog is past it, as docs/pooling.md says.
func TestIsolationThroughPgBouncer(t *testing.T) {
	for name, kinds := range map[string][]catalog.Kind{
		"roles":     {catalog.OwnSchema},
		"databases": {catalog.OwnDatabase},
		"mix":       {catalog.OwnSchema, catalog.OwnDatabase},
	} {
		t.Run(name, func(t *testing.T) { runPooledIsolation(t, "pooled_"+name, kinds) })
	}
}

func runPooledIsolation(t *testing.T, app string, kinds []catalog.Kind) {
	direct := scramServer(t)
	bouncer := pgbouncer.Start(t, pgbouncer.Config{Target: direct, PoolSize: pooledServerPool, AnyUser: true})
	// What PgBouncer opens at the server bears the client's name.
	through := func(cfg *pgxpool.Config) error {
		host, port, err := net.SplitHostPort(bouncer.Addr())
		if err != nil {
			return err
		}
		n, err := strconv.ParseUint(port, 10, 16)
		cfg.ConnConfig.Host, cfg.ConnConfig.Port = host, uint16(n)
		cfg.ConnConfig.RuntimeParams["application_name"] = app
		cfg.MaxConnLifetime = isolationLifetime
		return err
	}
	f := &isolationFleet{t: t, dsns: [2]string{direct, direct}, admins: map[string]*pgxpool.Pool{direct: admin(t, direct)}}
	f.catalog = open(t, direct, catalog.WithRoles(), catalog.WithPools(plugin.WithBudget(isolationBudget), plugin.WithDatabaseConfig(through)))
	f.db = use(t, direct, f.catalog, nil, plugin.WithMaxConns(isolationBudget), plugin.WithPoolConfig(through))

	places := make([]isolation.Place, isolationTenants/2)
	for i := range places {
		places[i] = f.place(create(t, f.catalog, catalog.New{ID: fmt.Sprintf("t%02d", i), Kind: kinds[i%len(kinds)]}))
	}
	isolation.Fill(t, places)
	result := isolation.Run(t, isolation.Config{
		DB: f.db, Places: places, Goroutines: isolationGoroutines, Statements: max(inProportion(t, pooledStatements), pooledAtLeast),
		KillEvery: isolationKillEvery, Killers: []*pgxpool.Pool{f.admins[direct]}, AppName: app, Restarts: bouncer.Restarts,
	})
	t.Log(result)
	for i, wrong := range append(result.Leaks, result.Errors...) {
		if i < 20 {
			t.Error(wrong)
		}
	}
	if result.Kills < 3 || result.Killed == 0 {
		t.Errorf("too little went wrong on purpose: %s", result)
	}
}

// scramServer returns a database on a server of its own that asks for scram-sha-256.
func scramServer(t *testing.T) string {
	t.Helper()
	dsn := pgtest.DatabaseOn(t, pgtest.Server(t).DSN())
	pool := admin(t, dsn)
	file := one[string](t, pool, "select current_setting('hba_file')")
	execute(t, pool, "copy (select 'host all all 127.0.0.1/32 scram-sha-256') to '"+file+"'")
	execute(t, pool, "select pg_reload_conf()")
	return dsn
}
