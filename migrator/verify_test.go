package migrator_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
	"github.com/tenantry/tenantry/migrator"
	"github.com/tenantry/tenantry/plugin"
	"github.com/tenantry/tenantry/scope"
)

// TestVerifyMendsTheLedger in every way in which it can be wrong.
func TestVerifyMendsTheLedger(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	db, pool := open(t, dsn, plugin.BySchema()), admin(t, dsn)
	list := tenants(t, "right", "restored", "ahead", "dropped", "failed", "gone", "with-dash")
	m := migrator.New(db, list, two)
	if _, err := m.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	mustExec(t, pool,
		"alter table tenant_restored.invoices drop column title", "delete from tenant_restored.migrations where id = '0002'",
		"insert into tenant_ahead.migrations values ('0003')",
		"drop schema tenant_dropped cascade",
		"update tenantry.ledger set state = 'failed', failure = '{}' where tenant = 'failed'",
		"drop schema tenant_gone cascade",
		`delete from "tenant_with-dash".migrations`)
	fleet := slices.Delete(slices.Clone(list), 5, 6)
	m = migrator.New(db, fleet, two)
	some, err := m.Verify(t.Context(), migrator.Selection{IDs: list[:1]})
	if err != nil || some.Checked != 1 || len(some.Mended) > 0 {
		t.Errorf("of one: %+v, %v", some, err)
	}
	found, err := m.Verify(t.Context(), migrator.Selection{})
	if err != nil || found.Checked != 6 {
		t.Errorf("got %+v, %v", found, err)
	}
	want := []migrator.Mended{
		{Tenant: list[1], Extra: []string{"0002"}},
		{Tenant: list[2], Missing: []string{"0003"}},
		{Tenant: list[3], Extra: []string{"0001", "0002"}},
		{Tenant: list[6], Extra: []string{"0001", "0002"}},
	}
	if !slices.EqualFunc(found.Mended, want, func(a, b migrator.Mended) bool {
		return a.Tenant == b.Tenant && slices.Equal(a.Missing, b.Missing) && slices.Equal(a.Extra, b.Extra)
	}) {
		t.Errorf("mended %+v, want %+v", found.Mended, want)
	}
	if again, err := m.Verify(t.Context(), migrator.Selection{}); err != nil || len(again.Mended) > 0 {
		t.Errorf("once more: %+v, %v", again, err)
	}
	if n := ask[int](t, pool, "select count(*)::int from tenantry.ledger where tenant = 'gone'"); n != 0 {
		t.Error("who is not in the fleet is still in the ledger")
	}
	var unknown *migrator.UnknownError
	if _, err := m.Run(t.Context()); !errors.As(err, &unknown) || !slices.Equal(unknown.Tenants, list[2:3]) {
		t.Errorf("got error %v", err)
	}
	report, err := migrator.New(db, fleet, two, migrator.WithUnknownMigrations()).Run(t.Context(), migrator.Only(migrator.Selection{IDs: tenants(t, "restored", "ahead", "dropped")}))
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range [][]string{{"0002"}, nil, {"0001", "0002"}} {
		if got := report.Results[i].Applied; !slices.Equal(got, want) {
			t.Errorf("%s: applied %q, want %q", report.Results[i].Tenant, got, want)
		}
	}
}

// TestAMissingTrackingTableSaysWhatToDo: the ledger knows better, so it is not a new
// tenant.
func TestAMissingTrackingTableSaysWhatToDo(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	db, pool, list := open(t, dsn, plugin.BySchema()), admin(t, dsn), tenants(t, "acme")
	if _, err := migrator.New(db, list, two[:1]).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	mustExec(t, pool, "drop table tenant_acme.migrations")
	m := migrator.New(db, list, two)
	if _, err := m.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "tracking table is gone") || !strings.Contains(err.Error(), "Verify") {
		t.Errorf("got error %v", err)
	}
	if got := ask[string](t, pool, tablesOf, "tenant_acme"); got != "invoices" {
		t.Errorf("the tables are %q", got)
	}
	mustExec(t, pool, "drop schema tenant_acme cascade")
	if _, err := m.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "or its whole schema") || !strings.Contains(err.Error(), "Verify") {
		t.Errorf("got error %v", err)
	}
	if found, err := m.Verify(t.Context(), migrator.Selection{}); err != nil || len(found.Mended) != 1 {
		t.Errorf("got %+v, %v", found, err)
	}
	if _, err := m.Run(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestVerifyTellsWhomItCouldNotRead and verifies the others.
func TestVerifyTellsWhomItCouldNotRead(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	list := tenants(t, "acme", "away", "globex", "odd")
	pool := admin(t, dsn)
	m := migrator.New(open(t, dsn, plugin.BySchema()), list, two)
	if _, err := m.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	mustExec(t, pool, "drop table tenant_odd.migrations", "create table tenant_odd.migrations (name text)", "delete from tenant_globex.migrations where id = '0002'")
	found, err := m.Verify(t.Context(), migrator.Selection{})
	var tenantErr *scope.TenantError
	if !errors.As(err, &tenantErr) || tenantErr.Tenant != list[3] || found.Checked != 3 || len(found.Mended) != 1 || found.Mended[0].Tenant != list[2] {
		t.Errorf("got %+v, %v", found, err)
	}
}

// TestAStaleLookDoesNotOverwriteWhatARunHasDone: one process has read a new tenant's
// table, and still reads another's when a second process migrates the first.
func TestAStaleLookDoesNotOverwriteWhatARunHasDone(t *testing.T) {
	t.Parallel()
	master, other := pgtest.Database(t), pgtest.Database(t)
	list := tenants(t, "acme", "slow")
	where := map[scope.Tenant]string{list[0]: pgtest.Database(t), list[1]: other}
	strategy := plugin.ByDatabase(func(_ context.Context, t scope.Tenant) (plugin.Database, error) {
		return plugin.Database{Server: where[t]}, nil
	})
	pool, acme := admin(t, other), admin(t, where[list[0]])
	mustExec(t, pool, "create table public.migrations (id varchar(255) primary key)")
	holder, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = holder.Rollback(context.Background()) }()
	if _, err := holder.Exec(t.Context(), "lock public.migrations"); err != nil {
		t.Fatal(err)
	}
	looked := make(chan error, 1)
	looking := migrator.New(open(t, master, strategy), list, two)
	go func() {
		_, err := looking.Status(t.Context(), migrator.Selection{})
		looked <- err
	}()
	until(t, "one is read, and the other is waited for", func() bool {
		const seen = "select count(*)::int from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid() and query like '%ordinality%'"
		return ask[int](t, acme, seen) > 0 && ask[int](t, pool, "select count(*)::int from pg_locks where not granted and relation = 'public.migrations'::regclass") > 0
	})
	m := migrator.New(open(t, master, strategy), list[:1], two)
	if _, err := m.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := holder.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-looked; err != nil {
		t.Fatal(err)
	}
	status, err := m.Status(t.Context(), migrator.Selection{})
	if err != nil || status[0].State != migrator.Current || status[0].Applied != 2 {
		t.Errorf("got %+v, %v", status, err)
	}
}

// TestVerifyOfNewTenantsMendsNothing: what the ledger has not seen yet is no mistake
// of it.
func TestVerifyOfNewTenantsMendsNothing(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	list := tenants(t, "acme", "globex")
	provide(t, dsn, list, "")
	m := migrator.New(open(t, dsn, plugin.BySchema()), list, two[:1], silent)
	found, err := m.Verify(t.Context(), migrator.Selection{})
	if err != nil || found.Checked != 2 || len(found.Mended) > 0 {
		t.Errorf("got %+v, %v", found, err)
	}
	status, err := m.Status(t.Context(), migrator.Selection{})
	if err != nil || len(status) != 2 || status[0].State != migrator.Current || status[0].Since.IsZero() {
		t.Errorf("the ledger has not learned of them: %+v, %v", status, err)
	}
}
