package migrator_test

import (
	"net"
	"strconv"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/internal/pgproxy"
	"github.com/tenantry/tenantry/internal/pgserver/dsn"
	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
	"github.com/tenantry/tenantry/migrator"
	"github.com/tenantry/tenantry/plugin"
	"github.com/tenantry/tenantry/scope"
)

// TestDirectErrorsHoldNoPassword, of strings that can't be read and servers that
// can't be reached.
func TestDirectErrorsHoldNoPassword(t *testing.T) {
	t.Parallel()
	db := open(t, pgtest.Database(t), plugin.BySchema())
	for _, direct := range []string{
		"postgres://u:s3cret@127.0.0.1:1/x", "postgres://u:s3cret@127.0.0.1:port/x", "host=127.0.0.1 port=1 user=u password=s3cret dbname=x",
		"host=127.0.0.1 port=no password=s3cret", "postgres://u:s3cret@127.0.0.1:1/x?pool_max_conns=none", "password=s3cret", "postgres://u:s3cret%@127.0.0.1/x",
	} {
		t.Run(strings.ReplaceAll(direct, "/", "_"), func(t *testing.T) {
			t.Parallel()
			_, err := migrator.New(db, tenants(t, "acme"), two, migrator.WithDirect(direct)).Run(t.Context())
			if err == nil || strings.Contains(err.Error(), "s3cret") {
				t.Errorf("got error %v", err)
			}
		})
	}
}

// TestDirectMayBeAnotherUser, who owns what is made, while the application may only
// use it.
func TestDirectMayBeAnotherUser(t *testing.T) {
	t.Parallel()
	direct := pgtest.Database(t)
	pool, role, list := admin(t, direct), fresh("app"), tenants(t, "acme")
	mustExec(t, pool, "create role "+role+" login password 'x'")
	t.Cleanup(func() { mustExec(t, pool, "drop owned by "+role, "drop role "+role) })
	cfg, err := dsn.Parse(direct)
	if err != nil {
		t.Fatal(err)
	}
	weak := dsn.URL(net.JoinHostPort(cfg.Host, strconv.Itoa(int(cfg.Port))), role, "x", cfg.Database)
	migrations := append(withIndex(), text("0005", "grant usage on schema tenant_acme to "+role), text("0006", "grant select on invoices to "+role))
	db := open(t, weak, plugin.BySchema())
	if _, err := migrator.New(db, list, migrations).Run(t.Context()); code(err) != "42501" {
		t.Errorf("without: got error %v", err)
	}
	if _, err := migrator.New(db, list, migrations, migrator.WithDirect(direct)).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	tenant := db.WithContext(scope.With(t.Context(), list[0]))
	if err := tenant.Exec("select * from invoices").Error; err != nil {
		t.Error(err)
	}
	if err := tenant.Exec("drop table invoices").Error; code(err) != "42501" {
		t.Errorf("got error %v", err)
	}
}

// TestDirectMustLeadToTheSameDatabase, also where all names are the same.
func TestDirectMustLeadToTheSameDatabase(t *testing.T) {
	t.Parallel()
	here, there := pgtest.Database(t), pgtest.Database(t)
	pool, role := admin(t, here), fresh("app")
	mustExec(t, pool, "create role "+role+" login password 's3cret'")
	t.Cleanup(func() { mustExec(t, pool, "drop role "+role) })
	as := func(server string) string {
		cfg, err := dsn.Parse(server)
		if err != nil {
			t.Fatal(err)
		}
		return dsn.URL(net.JoinHostPort(cfg.Host, strconv.Itoa(int(cfg.Port))), role, "s3cret", cfg.Database)
	}
	list := many(t, 2)
	for name, tt := range map[string]struct{ usual, direct string }{"as an administrator": {here, there}, "without rights": {as(here), as(there)}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := migrator.New(open(t, tt.usual, plugin.BySchema()), list, two, migrator.WithDirect(tt.direct), silent)
			_, err := m.Run(t.Context())
			if err == nil || !strings.Contains(err.Error(), "WithDirect: it leads to another database") || strings.Contains(err.Error(), "s3cret") {
				t.Errorf("got error %v", err)
			}
			if n := ask[int](t, admin(t, there), "select count(*)::int from pg_namespace where nspname like 'tenant%'"); n != 0 {
				t.Error("it has made something there")
			}
		})
	}
}

// TestDirectCostsFewRoundTrips, of which the *gorm.DB's connection has one.
func TestDirectCostsFewRoundTrips(t *testing.T) {
	t.Parallel()
	server := pgtest.Database(t)
	list := many(t, 3)
	usual, direct := pgproxy.Start(t, server), pgproxy.Start(t, server)
	db := open(t, usual.DSN(server), plugin.BySchema())
	trips := func(opts ...migrator.Option) (least int64) {
		for range 5 { // the end of a connection is counted now or with the next
			before := usual.RoundTrips() + direct.RoundTrips()
			if _, err := migrator.New(db, list, two, append(opts, silent)...).Run(t.Context()); err != nil {
				t.Fatal(err)
			}
			if spent := usual.RoundTrips() + direct.RoundTrips() - before; least == 0 || spent < least {
				least = spent
			}
		}
		return least
	}
	without, with := trips(), trips(migrator.WithDirect(direct.DSN(server)))
	if with > without+5 { // two connections more begin and end
		t.Errorf("%d round trips, %d with WithDirect", without, with)
	}
	t.Log(without, with)
}
