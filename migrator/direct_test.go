package migrator_test

import (
	"net"
	"strconv"
	"strings"
	"testing"

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
