package cli_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/catalog"
	"github.com/tenantry/tenantry/cli"
	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
	"github.com/tenantry/tenantry/migrator"
	"github.com/tenantry/tenantry/plugin"
)

// answer is what a tenant has answered, as JSON.
type answer struct {
	Tenant       string
	Columns      []string
	Rows         [][]any
	RowsAffected *int64 `json:"rows_affected"`
	Command      string
	Error        string
}

// three is a service with three tenants.
func three(t *testing.T) (s *service, ids []string) {
	t.Helper()
	s = newService(t)
	for _, base := range []string{"a", "b", "c"} {
		ids = append(ids, unique(base))
	}
	s.create(t, ids...)
	return s, ids
}

func TestExecPrintsResultsByTenantInTheOrderOfTheList(t *testing.T) {
	t.Parallel()
	s, ids := three(t)
	out := s.must(t, "exec", "--all", "insert into invoices values (1, 'of ' || current_schema()), (2, null)")
	var want strings.Builder
	for _, id := range ids {
		fmt.Fprintf(&want, "%s  INSERT 0 2\n", id)
	}
	if out != want.String() {
		t.Errorf("got:\n%s\nwant:\n%s", out, want.String())
	}
	out = s.must(t, "exec", "--tenant", ids[2]+","+ids[0], "select id, title is null as none, e'a\\tb' from invoices order by id")
	lines := strings.Split(out, "\n")
	if len(lines) != 6 || !strings.HasPrefix(lines[0], "TENANT ") || !strings.HasPrefix(lines[1], ids[0]+"  1   f     a\\tb") || !strings.HasPrefix(lines[4], ids[2]+"  2   t") {
		t.Errorf("got:\n%s", out)
	}
	answers := parse[[]answer](t, s.must(t, "exec", "--all", "-o", "json", "--concurrency", "2",
		`select id, title, true as b, '{"k":[1]}'::jsonb as j, 12345678901234567890.5 as n, 'NaN'::float8 as f, null as z from invoices order by id limit 1`))
	for i, a := range answers {
		if a.Tenant != ids[i] || a.Error != "" || a.RowsAffected != nil || strings.Join(a.Columns, " ") != "id title b j n f z" || len(a.Rows) != 1 {
			t.Fatalf("got %+v", a)
		}
		if title, _ := a.Rows[0][1].(string); !strings.HasPrefix(title, "of "+ids[i]) {
			t.Errorf("%s has the row of %q", ids[i], title)
		}
		if got, _ := json.Marshal(a.Rows[0][2:]); string(got) != `[true,{"k":[1]},12345678901234567000,"NaN",null]` { // the number as Go's float64
			t.Errorf("got %s", got)
		}
	}
	answers = parse[[]answer](t, s.must(t, "exec", "--first", "1", "-o", "json", "delete from invoices; select 1 where false"))
	if len(answers) != 1 || answers[0].Tenant != ids[0] || answers[0].Rows == nil || len(answers[0].Rows) != 0 {
		t.Errorf("got %+v", answers)
	}
	mustContain(t, s.must(t, "exec", "--tenant", ids[0], "select id from invoices"), "TENANT ", "id\n", ids[0]+"  (0 rows)\n")
	answers = parse[[]answer](t, s.must(t, "exec", "--all", "-o", "json", "delete from invoices"))
	for i, want := range []int64{0, 2, 2} {
		if answers[i].RowsAffected == nil || *answers[i].RowsAffected != want || answers[i].Columns != nil {
			t.Errorf("got %+v, want %d rows affected", answers[i], want)
		}
	}
}

func TestExecGoesOnAfterAFailure(t *testing.T) {
	t.Parallel()
	s, ids := three(t)
	s.must(t, "exec", "--tenant", ids[1], "drop table if exists nothing") // it may not: no right, or nothing to drop
	s.withCatalog(t, func(ctx context.Context, c *catalog.Catalog) error { return c.Suspend(ctx, tenant(t, ids[1])) })
	r := s.run(t, "exec", "--all", "-o", "json", "select 1 / (select count(*) from invoices)")
	r.mustEnd(t, cli.ExitTenants, "3 of 3 tenants failed")
	answers := parse[[]answer](t, r.out)
	for i, want := range []string{"division by zero", "suspended", "division by zero"} {
		mustContain(t, answers[i].Error, want)
	}
	r = s.run(t, "exec", "--all", "select 1 as one")
	r.mustEnd(t, cli.ExitTenants, "1 of 3 tenants failed")
	mustContain(t, r.out, ids[0]+"  1\n", ids[1]+"  error: ", ids[2]+"  1\n")
	if out := s.must(t, "exec", "--state", "active", "select 1 as one"); strings.Contains(out, ids[1]) {
		t.Errorf("got:\n%s", out)
	}
	s.run(t, "exec", "--tenant", unique("nobody"), "select 1").mustEnd(t, cli.ExitError, "there is no tenant")
}

func TestExecSelectsByLabelAndServer(t *testing.T) {
	t.Parallel()
	s, ids := three(t)
	gold := unique("gold")
	s.must(t, "tenants", "create", gold, "--label", "plan=gold")
	for _, c := range []struct {
		flags string
		want  int
	}{{"--label plan=gold", 1}, {"--label plan=tin", 0}, {"--server main", 4}, {"--server other", 0}, {"--server main --first 2", 2}, {"--tenant " + gold + " --label plan=tin", 0}} {
		args := append([]string{"exec", "-o", "json", "select 1"}, strings.Fields(c.flags)...)
		if got := parse[[]answer](t, s.must(t, args...)); len(got) != c.want {
			t.Errorf("%s: got %+v, want %d tenants of %v", c.flags, got, c.want, ids)
		}
	}
}

func TestExecReadOnlyChangesNothing(t *testing.T) {
	t.Parallel()
	s, ids := three(t)
	for _, sql := range []string{
		"insert into invoices values (1)",
		"set transaction read write; insert into invoices values (1)",
		"commit; insert into invoices values (1)",
		"rollback; begin; insert into invoices values (1)",
	} {
		r := s.run(t, "exec", "--all", "--read-only", sql)
		r.mustEnd(t, cli.ExitTenants, "3 of 3 tenants failed")
	}
	mustContain(t, s.must(t, "exec", "--tenant", ids[0], "--read-only", "select count(*) from invoices"), "count", ids[0]+"  0")
}

func TestExecWithoutATransactionTakesWhatCantRunInOne(t *testing.T) {
	t.Parallel()
	s, ids := three(t)
	s.run(t, "exec", "--tenant", ids[0], "vacuum").mustEnd(t, cli.ExitTenants)
	mustContain(t, s.must(t, "exec", "--tenant", ids[0], "--no-transaction", "vacuum"), ids[0]+"  0 rows affected")
	mustContain(t, s.must(t, "exec", "--tenant", ids[0], "--no-transaction", "insert into invoices values (1, '?@x')"), "1 row affected")
}

func TestExecStopsAtItsTimeout(t *testing.T) {
	t.Parallel()
	s, ids := three(t)
	r := s.run(t, "exec", "--tenant", ids[0], "--timeout", "50ms", "select pg_sleep(60)")
	r.mustEnd(t, cli.ExitTenants)
}

func TestAnInterruptedExecSaysWhatWasNotRun(t *testing.T) {
	t.Parallel()
	s, ids := three(t)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan result)
	go func() {
		ended <- runContext(ctx, s.app(), "exec", "--all", "--concurrency", "1", "-o", "json", "select pg_sleep(60)")
	}()
	until(t, "the first tenant's statement runs", func() bool {
		return ask[int](t, s.dsn, "select count(*)::int from pg_stat_activity where datname = current_database() and query like '%pg_sleep(60)%' and state = 'active' and pid <> pg_backend_pid()") > 0
	})
	cancel()
	r := <-ended
	r.mustEnd(t, cli.ExitInterrupted, "interrupted: 3 of 3 tenants failed")
	answers := parse[[]answer](t, r.out)
	for i, a := range answers {
		if a.Tenant != ids[i] || (a.Error == "not run: interrupted") != (i > 0) {
			t.Errorf("got %+v", a)
		}
	}
}

// bySchema is an application without a catalog, on a new database with schemas for
// tenants.
func bySchema(t *testing.T, fleet migrator.Tenants, tenants ...string) cli.App {
	t.Helper()
	dsn := pgtest.Database(t)
	for _, id := range tenants {
		change(t, dsn, `create schema "tenant_`+id+`"`)
	}
	return onSchemas(dsn, fleet)
}

func onSchemas(dsn string, fleet migrator.Tenants) cli.App {
	return cli.App{Name: "myservice", Open: func(context.Context) (*cli.Service, error) {
		db, closeDB, err := openDB(dsn, plugin.BySchema())
		return &cli.Service{DB: db, Fleet: fleet, Close: closeDB}, err
	}}
}

func TestExecWorksWithoutACatalog(t *testing.T) {
	t.Parallel()
	app := bySchema(t, nil, "acme")
	r := run(t, app, "exec", "--tenant", "acme", "select current_schema()")
	r.mustEnd(t, cli.ExitOK)
	mustContain(t, r.out, "acme    tenant_acme\n")
	run(t, app, "exec", "--all", "select 1").mustEnd(t, cli.ExitError, "no list of tenants: name them")
	run(t, app, "exec", "--state", "active", "select 1").mustEnd(t, cli.ExitError, "no catalog of tenants")
	run(t, app, "exec", "--tenant", "globex", "select 1").mustEnd(t, cli.ExitTenants)

	listed := bySchema(t, migrator.List{tenant(t, "acme"), tenant(t, "globex")}, "acme", "globex")
	r = run(t, listed, "exec", "--all", "select current_schema()")
	r.mustEnd(t, cli.ExitOK)
	mustContain(t, r.out, "acme    tenant_acme\n", "globex  tenant_globex\n")
	run(t, listed, "exec", "--tenant", "initech", "select 1").mustEnd(t, cli.ExitError, "there is no tenant")
	if r := run(t, listed, "__complete", "psql", ""); !strings.HasPrefix(r.out, "acme\nglobex\n") {
		t.Errorf("got %s", r.out)
	}
}
