package cli_test

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/go-gormigrate/gormigrate/v2"
	"gorm.io/gorm"

	"github.com/tenantry/tenantry/cli"
	"github.com/tenantry/tenantry/migrator"
	"github.com/tenantry/tenantry/scope"
)

// noted is a migration that a new version of the service brings.
func noted() *gormigrate.Migration {
	return &gormigrate.Migration{
		ID:       "0003_notes",
		Migrate:  func(tx *gorm.DB) error { return tx.Exec("create table notes (id bigint)").Error },
		Rollback: func(tx *gorm.DB) error { return tx.Exec("drop table notes").Error },
	}
}

// failing is a migration that fails for one tenant.
func failing(id string) *gormigrate.Migration {
	return &gormigrate.Migration{
		ID: "0002_fails",
		Migrate: func(tx *gorm.DB) error {
			if t, _ := scope.From(tx.Statement.Context); t.String() == id {
				return tx.Exec("select 1 / 0").Error
			}
			return nil
		},
		Rollback: func(*gorm.DB) error { return nil },
	}
}

// report is what a run has done, as JSON.
type report struct {
	Run             int64
	Shared          []string
	Current, Failed int
	NotDone         int `json:"not_done"`
	Results         []struct {
		Tenant, State, Error string
		Applied              []string
		RolledBack           []string `json:"rolled_back"`
		Attempts             int
		DurationMS           *int64 `json:"duration_ms"`
	}
}

// status is where tenants are, as JSON.
type status struct {
	Counts  map[string]int
	Tenants []struct {
		Tenant, State, Last string
		Since               *string
		Applied             int
		Pending, Unknown    []string
		Failure             *struct{ Migration, Message, Code string }
	}
}

func TestUpShowsEachStepAndStatusWhoFailed(t *testing.T) {
	t.Parallel()
	s, ids := three(t)
	s.must(t, "migrate", "up", "--quiet")
	s.migrations = append(first(), failing(ids[1]), noted())
	r := s.run(t, "migrate", "status", "--check")
	r.mustEnd(t, cli.ExitFound, "3 tenants are not current")
	mustContain(t, r.out, "3 tenants: 0 current, 3 pending, 0 running, 0 failed\n", "0001_invoices")

	r = s.run(t, "migrate", "up", "--concurrency", "1")
	if logged := s.logged.Load(); logged != 0 {
		t.Errorf("%d records are logged besides the progress", logged)
	}
	r.mustEnd(t, cli.ExitTenants, "0/3  "+ids[0]+"  0002_fails  ", "0/3  "+ids[0]+"  0003_notes  ", "1/3  "+ids[0]+"  done",
		ids[1]+"  failed: ", "division by zero", "3/3  ")
	mustContain(t, r.out, "3 tenants: 2 current (2 changed by this call), 1 failed, 0 not done\n")

	r = s.run(t, "migrate", "status")
	r.mustEnd(t, cli.ExitOK)
	mustContain(t, r.out, "3 tenants: 2 current, 0 pending, 0 running, 1 failed\n", ids[1], "division by zero")
	if strings.Contains(r.out, ids[0]) {
		t.Errorf("a current tenant is listed:\n%s", r.out)
	}
	got := parse[status](t, s.must(t, "migrate", "status", "-o", "json", "--all-tenants"))
	if len(got.Tenants) != 3 || got.Counts["failed"] != 1 || got.Counts["running"] != 0 || got.Tenants[0].Since == nil || got.Tenants[0].Pending == nil {
		t.Errorf("got %+v", got)
	}
	if f := got.Tenants[1].Failure; f == nil || f.Migration != "0002_fails" || f.Code != "22012" {
		t.Errorf("got %+v", f)
	}

	s.migrations = append(first(), failing(""), noted())
	again := s.run(t, "migrate", "retry", "-o", "json", "--quiet")
	again.mustEnd(t, cli.ExitOK)
	if again.err != "" {
		t.Errorf("with --quiet it prints %s", again.err)
	}
	rep := parse[report](t, again.out)
	if len(rep.Results) != 1 || rep.Results[0].Tenant != ids[1] || !slices.Equal(rep.Results[0].Applied, []string{"0002_fails", "0003_notes"}) || rep.Results[0].DurationMS == nil || rep.Results[0].RolledBack == nil || rep.Shared == nil {
		t.Errorf("got %+v", rep)
	}
	s.run(t, "migrate", "status", "--check").mustEnd(t, cli.ExitOK)
	mustContain(t, s.must(t, "migrate", "up"), "nothing to do: 3 tenants\n")

	out := s.must(t, "migrate", "runs")
	mustContain(t, out, "RUN ", "done", "failed")
	runs := parse[[]struct {
		Run             int64
		State, Finished string
	}](t, s.must(t, "migrate", "runs", "-n", "1", "-o", "json"))
	if len(runs) != 1 || runs[0].Run != rep.Run || runs[0].State != "done" || runs[0].Finished == "" {
		t.Errorf("got %+v", runs)
	}
}

func TestPlanSaysWhatUpWouldDo(t *testing.T) {
	t.Parallel()
	s, ids := three(t)
	s.must(t, "migrate", "up")
	mustContain(t, s.must(t, "migrate", "plan", "--check"), "nothing to do: 3 tenants\n")
	s.migrations = append(first(), failing(""), noted())
	r := s.run(t, "migrate", "plan", "--sql", "--check")
	r.mustEnd(t, cli.ExitFound, "there is something to do")
	mustContain(t, r.out, "3 tenants: 0002_fails, 0003_notes\n", "  "+strings.Join(ids, ", ")+"\n", "-- 0003_notes\n", "create table notes (id bigint);\n")
	type plan struct {
		Shared  []string
		Current int
		Groups  []struct {
			Migrations, Tenants []string
			SQL                 []struct{ Migration, SQL string }
		}
	}
	p := parse[plan](t, s.must(t, "migrate", "plan", "--to", "0002_fails", "--tenant", ids[1], "-o", "json"))
	if len(p.Groups) != 1 || !slices.Equal(p.Groups[0].Migrations, []string{"0002_fails"}) || !slices.Equal(p.Groups[0].Tenants, ids[1:2]) || p.Groups[0].SQL != nil || p.Shared == nil {
		t.Errorf("got %+v", p)
	}
	mustContain(t, s.must(t, "migrate", "to", "0002_fails"), "3 current (3 changed by this call)")
	s.run(t, "migrate", "to", "0009").mustEnd(t, cli.ExitError, "0009")
}

func TestAPlanKeepsQuietOfNobodyAndOfWhatItCantKnow(t *testing.T) {
	t.Parallel()
	s, _ := three(t)
	s.must(t, "migrate", "up")
	s.migrations = append(first(), migrator.NoTransaction(noted()))
	out := s.must(t, "migrate", "plan", "--sql")
	mustContain(t, out, "-- not shown: 0003_notes runs outside of a transaction\n")
	if strings.Contains(out, "nothing to do") {
		t.Errorf("there is nobody with nothing to do:\n%s", out)
	}
}

func TestASelectionOfNobodySaysSo(t *testing.T) {
	t.Parallel()
	s, _ := three(t)
	s.must(t, "migrate", "up")
	const nobody = "the selection selects no tenant"
	for _, line := range []string{"migrate up", "migrate plan", "migrate to 0001_invoices", "migrate status --check", "migrate rollback --to 0001_invoices"} {
		for _, flag := range []string{"--label plan=fre", "--server mian"} {
			r := s.run(t, strings.Fields(line+" "+flag)...)
			r.mustEnd(t, cli.ExitError, "myservice: "+nobody+"\n")
			if r.out != "" {
				t.Errorf("%s %s: got %q", line, flag, r.out)
			}
		}
	}
	for line, want := range map[string]string{
		"migrate up --state pending":               nobody,
		"migrate plan --state pending":             nobody,
		"migrate rollback --to 1 --state pending":  nobody,
		"migrate up --state pending --server main": nobody,
		"migrate retry":                            "nothing failed",
		"migrate retry --server main":              "nothing failed",
	} {
		if got := s.must(t, strings.Fields(line)...); got != want+"\n" {
			t.Errorf("%s: got %q, want %q", line, got, want)
		}
	}
}

func TestStatusQuotesPostgreSQLBelowTheError(t *testing.T) {
	t.Parallel()
	s, ids := three(t)
	s.must(t, "migrate", "up")
	row := parse[shown](t, s.must(t, "tenants", "show", ids[1], "-o", "json"))
	change(t, s.dsn, `insert into "`+row.Schema+`".invoices values (7), (7)`)
	s.migrations = append(first(), &gormigrate.Migration{ID: "0002_unique", Migrate: func(tx *gorm.DB) error {
		return tx.Exec("create unique index invoices_id on invoices (id)").Error
	}})
	s.run(t, "migrate", "up").mustEnd(t, cli.ExitTenants, ids[1]+"  failed: ")
	out := s.must(t, "migrate", "status")
	t.Logf("\n%s", out)
	lines := strings.Split(out, "\n")
	if len(lines) < 4 {
		t.Fatalf("got %s", out)
	}
	at := strings.Index(lines[1], "ERROR")
	if strings.Contains(out, "tenantry: ") || strings.Contains(out, "UNKNOWN") || strings.Index(lines[3], "DETAIL: Key (id)=(7) is duplicated.") != at || strings.TrimSpace(lines[3][:at]) != "" {
		t.Errorf("got\n%s", out)
	}

	s.migrations = first()[:0]
	s.migrations = append(s.migrations, noted())
	mustContain(t, s.must(t, "migrate", "status"), "UNKNOWN", "0001_invoices, 0002_unique")
}

func TestAPlanShowsTheGroupsThatDoNotFail(t *testing.T) {
	t.Parallel()
	s, ids := three(t)
	s.must(t, "migrate", "up")
	s.migrations = append(first(), failing(""))
	s.must(t, "migrate", "up", "--tenant", ids[0])
	s.migrations = append(first(), failing(ids[1]), noted())
	r := s.run(t, "migrate", "plan", "--sql", "--check")
	r.mustEnd(t, cli.ExitTenants, "myservice: the rehearsal of 1 group has failed\n")
	mustContain(t, r.out, "2 tenants: 0002_fails, 0003_notes\n", "  -- "+ids[1]+` failed: migration "0002_fails": ERROR: division by zero`, "1 tenant: 0003_notes\n", "create table notes (id bigint);\n")

	r = s.run(t, "migrate", "plan", "--sql", "-o", "json")
	r.mustEnd(t, cli.ExitTenants)
	p := parse[struct {
		Groups []struct {
			Error string
			SQL   []struct{ Migration string }
		}
	}](t, r.out)
	if len(p.Groups) != 2 || !strings.Contains(p.Groups[0].Error, ids[1]) || p.Groups[0].SQL != nil || p.Groups[1].Error != "" || len(p.Groups[1].SQL) != 1 {
		t.Errorf("got %+v", p)
	}
}

func TestRunsShowsTheTenantsOfOne(t *testing.T) {
	t.Parallel()
	s, ids := three(t)
	s.must(t, "migrate", "up")
	s.run(t, "migrate", "runs", "99").mustEnd(t, cli.ExitError, "there is no run 99")
	row := parse[shown](t, s.must(t, "tenants", "show", ids[1], "-o", "json"))
	change(t, s.dsn, `insert into "`+row.Schema+`".invoices values (7), (7)`)
	s.migrations = append(first(), &gormigrate.Migration{ID: "0002_unique", Migrate: func(tx *gorm.DB) error {
		return tx.Exec("create unique index invoices_id on invoices (id)").Error
	}})
	r := s.run(t, "migrate", "up", "--stop-after", "1", "--concurrency", "1", "-o", "json")
	r.mustEnd(t, cli.ExitTenants)
	run := strconv.FormatInt(parse[report](t, r.out).Run, 10)

	out := s.must(t, "migrate", "runs", run)
	t.Logf("\n%s", out)
	lines := strings.Split(out, "\n")
	if len(lines) != 6 || strings.Join(strings.Fields(lines[0]), " ") != "TENANT STATE APPLIED ROLLED BACK TOOK ERROR" {
		t.Fatalf("got\n%s", out)
	}
	mustContain(t, lines[1], ids[0], "current", "0002_unique", "ms")
	mustContain(t, lines[2], ids[1], "failed", `  migration "0002_unique": ERROR: `)
	mustContain(t, lines[3], "DETAIL: Key (id)=(7) is duplicated.")
	mustContain(t, lines[4], ids[2], "pending")

	type done struct {
		Tenant, State string
		Applied       []string
		RolledBack    []string `json:"rolled_back"`
		DurationMS    *int64   `json:"duration_ms"`
		Failure       *struct{ Migration, Code string }
	}
	got := parse[[]done](t, s.must(t, "migrate", "runs", run, "-o", "json"))
	if len(got) != 3 || got[0].Tenant != ids[0] || !slices.Equal(got[0].Applied, []string{"0002_unique"}) || got[0].RolledBack == nil || got[0].DurationMS == nil || got[0].Failure != nil ||
		got[1].State != "failed" || got[1].Failure == nil || got[1].Failure.Code != "23505" || got[1].Failure.Migration != "0002_unique" || got[2].State != "pending" || got[2].Applied == nil {
		t.Errorf("got %+v", got)
	}
}

func TestStatusShowsTheSharedTables(t *testing.T) {
	t.Parallel()
	s, _ := three(t)
	s.must(t, "migrate", "up")
	type shared struct {
		Shared *struct{ Applied, Pending, Unknown []string }
	}
	if out := s.must(t, "migrate", "status"); strings.Contains(out, "shared") {
		t.Errorf("there are none:\n%s", out)
	}
	if got := parse[shared](t, s.must(t, "migrate", "status", "-o", "json")); got.Shared != nil {
		t.Errorf("got %+v", got.Shared)
	}
	plans := &gormigrate.Migration{ID: "s1_plans", Migrate: func(tx *gorm.DB) error { return tx.Exec("create table plans (id bigint)").Error }}
	prices := &gormigrate.Migration{ID: "s2_prices", Migrate: func(tx *gorm.DB) error { return tx.Exec("create table prices (id bigint)").Error }}
	s.shared = migrator.Migrations{plans}
	r := s.run(t, "migrate", "status", "--check")
	r.mustEnd(t, cli.ExitFound, "the shared tables are not current\n")
	mustContain(t, r.out, "shared tables: 0 applied, pending s1_plans\n3 tenants: 3 current")
	s.must(t, "migrate", "up")
	mustContain(t, s.must(t, "migrate", "status", "--check"), "shared tables: 1 applied, last s1_plans\n")

	s.shared, s.migrations = migrator.Migrations{plans, prices}, append(first(), noted())
	s.run(t, "migrate", "status", "--check").mustEnd(t, cli.ExitFound, "the shared tables and 3 tenants are not current\n")
	got := parse[shared](t, s.must(t, "migrate", "status", "-o", "json"))
	if got.Shared == nil || !slices.Equal(got.Shared.Applied, []string{"s1_plans"}) || !slices.Equal(got.Shared.Pending, []string{"s2_prices"}) || got.Shared.Unknown == nil {
		t.Errorf("got %+v", got.Shared)
	}
	s.shared = migrator.Migrations{prices}
	mustContain(t, s.must(t, "migrate", "status"), "shared tables: 0 applied, pending s2_prices, unknown s1_plans\n")
}

func TestRollingBackNeedsAConfirmation(t *testing.T) {
	t.Parallel()
	s, ids := three(t)
	s.migrations = append(first(), noted())
	up := parse[report](t, s.must(t, "migrate", "up", "-o", "json"))
	r := s.run(t, "migrate", "rollback", "--to", "0001_invoices", "--all")
	r.mustEnd(t, cli.ExitNotConfirmed, "give --yes")
	got := parse[report](t, s.must(t, "migrate", "rollback", "--to", "0001_invoices", "--tenant", ids[0], "--yes", "-o", "json"))
	if len(got.Results) != 1 || !slices.Equal(got.Results[0].RolledBack, []string{"0003_notes"}) {
		t.Errorf("got %+v", got)
	}
	out := s.must(t, "migrate", "rollback", "--run", "1", "--all", "--yes")
	mustContain(t, out, "0 failed")
	if left := ask[int](t, s.dsn, "select count(*)::int from pg_tables where tablename = 'notes'"); left != 0 {
		t.Errorf("%d tenants still have the table of run %d", left, up.Run)
	}
}

func TestACanaryThatFailsStopsTheRun(t *testing.T) {
	t.Parallel()
	s, ids := three(t)
	s.must(t, "migrate", "up")
	s.migrations = append(first(), failing(ids[1]), noted())
	r := s.run(t, "migrate", "up", "--canary-tenant", ids[1], "-o", "json")
	r.mustEnd(t, cli.ExitTenants, "stopped")
	if got := parse[report](t, r.out); got.Failed != 1 || got.NotDone != 2 {
		t.Errorf("got %+v", got)
	}
	r = s.run(t, "migrate", "up", "--stop-after", "1", "--concurrency", "1", "--tenant", ids[1]+","+ids[2], "-o", "json")
	r.mustEnd(t, cli.ExitTenants)
	if got := parse[report](t, r.out); len(got.Results) != 2 || got.Failed != 1 {
		t.Errorf("got %+v", got)
	}
	mustContain(t, ask[string](t, s.dsn, "select spec::text from tenantry.runs order by id desc limit 1"), `"stop_after": 1`)
}

func TestVerifyMendsTheLedger(t *testing.T) {
	t.Parallel()
	s, ids := three(t)
	s.must(t, "migrate", "up")
	mustContain(t, s.must(t, "migrate", "verify", "--check"), "3 tenants checked, the ledger was mended for 0\n")
	row := parse[shown](t, s.must(t, "tenants", "show", ids[2], "-o", "json"))
	change(t, s.dsn, `delete from "`+row.Schema+`".migrations`)
	r := s.run(t, "migrate", "verify", "--check", "-o", "json")
	r.mustEnd(t, cli.ExitFound, "the ledger was wrong about 1 tenant")
	type verification struct {
		Checked int
		Mended  []struct {
			Tenant         string
			Missing, Extra []string
		}
	}
	got := parse[verification](t, r.out)
	if got.Checked != 3 || len(got.Mended) != 1 || got.Mended[0].Tenant != ids[2] || !slices.Equal(got.Mended[0].Extra, []string{"0001_invoices"}) || got.Mended[0].Missing == nil {
		t.Errorf("got %+v", got)
	}
}

func TestDriftNamesWhatDiffers(t *testing.T) {
	t.Parallel()
	s, ids := three(t)
	mustContain(t, s.must(t, "migrate", "drift", "--reference", ids[0], "--check"), "no differences\n")
	row := parse[shown](t, s.must(t, "tenants", "show", ids[2], "-o", "json"))
	change(t, s.dsn, `alter table "`+row.Schema+`".invoices add total numeric`)
	r := s.run(t, "migrate", "drift", "--reference", ids[0], "--check")
	r.mustEnd(t, cli.ExitFound, "in 1 tenant")
	mustContain(t, r.out, "TENANT ", ids[2], "total", "(none)")
	found := parse[[]map[string]string](t, s.must(t, "migrate", "drift", "--reference", ids[0], "--tenant", ids[2], "-o", "json"))
	if len(found) == 0 || found[0]["tenant"] != ids[2] || found[0]["object"] == "" || found[0]["have"] == "" {
		t.Errorf("got %v", found)
	}
}

func TestAnInterruptedUpStopsAndTheNextGoesOn(t *testing.T) {
	t.Parallel()
	s, ids := three(t)
	s.must(t, "migrate", "up")
	ctx, cancel := context.WithCancel(t.Context())
	s.migrations = append(first(), &gormigrate.Migration{ID: "0002_slow", Migrate: func(tx *gorm.DB) error {
		if t, _ := scope.From(tx.Statement.Context); ctx.Err() == nil && t.String() != ids[0] {
			cancel()
			return tx.Exec("select pg_sleep(60)").Error
		}
		return nil
	}})
	r := runContext(ctx, s.app(), "migrate", "up", "--concurrency", "1")
	r.mustEnd(t, cli.ExitInterrupted, "1/3  "+ids[0]+"  done", "interrupted: ", "1 current, 0 failed, 2 not done")
	mustContain(t, r.out, "3 tenants: 1 current (1 changed by this call), 0 failed, 2 not done")
	r = s.run(t, "migrate", "up")
	r.mustEnd(t, cli.ExitOK, "2/2  ")
	if strings.Contains(r.err, ids[0]) {
		t.Errorf("what was done is done again:\n%s", r.err)
	}
}

func TestTheFlagsOfARunReachTheMigrator(t *testing.T) {
	t.Parallel()
	s, _ := three(t)
	for _, c := range []struct{ flags, want string }{
		{"--lock-timeout -1s", "WithLockTimeout"},
		{"--statement-timeout 1us", "WithStatementTimeout"},
		{"--tenant nobody", "not in the fleet"},
	} {
		args := append([]string{"migrate", "up"}, strings.Fields(c.flags)...)
		s.run(t, args...).mustEnd(t, cli.ExitError, c.want)
	}
}

func TestExitCodesOfErrors(t *testing.T) {
	t.Parallel()
	if got := cli.ExitCode(nil); got != cli.ExitOK {
		t.Errorf("got %d", got)
	}
	if got := cli.ExitCode(errors.New("any")); got != cli.ExitError {
		t.Errorf("got %d", got)
	}
}

func TestTenantsThatCantBeReadDontHideTheOthers(t *testing.T) {
	t.Parallel()
	s, ids := three(t)
	s.must(t, "migrate", "up")
	row := parse[shown](t, s.must(t, "tenants", "show", ids[1], "-o", "json"))
	change(t, s.dsn, `alter schema "`+row.Schema+`" rename to elsewhere`)
	defer change(t, s.dsn, `alter schema elsewhere rename to "`+row.Schema+`"`)
	r := s.run(t, "migrate", "drift", "--reference", ids[0])
	r.mustEnd(t, cli.ExitTenants, "not all tenants could be read:", ids[1])
	mustContain(t, r.out, "no differences in what could be read\n")
	s.run(t, "migrate", "drift", "--reference", "nobody").mustEnd(t, cli.ExitError, "not in the fleet")
}
