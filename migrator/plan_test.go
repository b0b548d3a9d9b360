package migrator_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/go-gormigrate/gormigrate/v2"
	"github.com/jackc/pgx/v5/pgxpool"
	"gorm.io/gorm"

	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
	"github.com/tenantry/tenantry/migrator"
	"github.com/tenantry/tenantry/plugin"
	"github.com/tenantry/tenantry/scope"
)

// dump is all that is in the catalog of PostgreSQL of schemas but the ledger's.
func dump(t testing.TB, pool *pgxpool.Pool) string {
	t.Helper()
	return ask[string](t, pool, `select coalesce(string_agg(x, E'\n' order by x), '') from (
		select 'schema ' || nspname from pg_namespace where nspname !~ '^(pg_|information_schema|tenantry$)'
		union all select concat_ws(' ', c.oid::regclass, relkind, attname, atttypid::regtype, c.xmin, a.xmin)
			from pg_class c join pg_namespace n on n.oid = relnamespace left join pg_attribute a on attrelid = c.oid where nspname !~ '^(pg_|information_schema|tenantry$)'
	) d (x)`)
}

type memo struct {
	ID   int64
	Text string
}

// TestPlanSaysWhatRunWouldDo and changes nothing.
func TestPlanSaysWhatRunWouldDo(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	db, pool, list := open(t, dsn, plugin.BySchema()), admin(t, dsn), tenants(t, "one", "two", "three", "done", "bare")
	migrations := append(slices.Clone(two),
		&gormigrate.Migration{ID: "0003", Migrate: func(tx *gorm.DB) error {
			if err := tx.AutoMigrate(&memo{}); err != nil {
				return err
			}
			if err := tx.Create(&memo{ID: 7, Text: "it's"}).Error; err != nil {
				return err
			}
			return tx.Exec("update memos set text = ? where id = ?", "what", 7).Error
		}},
		text("0004", "select setval(pg_get_serial_sequence('memos', 'id'), 100)"))
	if _, err := migrator.New(db, list[:3], two[:1]).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := migrator.New(db, list[3:4], migrations).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := dump(t, pool)
	m := migrator.New(db, list, migrations, migrator.WithShared(migrator.Migrations{text("s1", "create table plans ()")}))
	for name, plan := range map[string]func() (migrator.Plan, error){
		"Plan":    func() (migrator.Plan, error) { return m.Plan(t.Context()) },
		"PlanSQL": func() (migrator.Plan, error) { return m.PlanSQL(t.Context()) },
	} {
		p, err := plan()
		if err != nil {
			t.Fatal(err)
		}
		if after := dump(t, pool); after != before {
			t.Errorf("%s has changed\n%s\nto\n%s", name, before, after)
		}
		if !slices.Equal(p.Shared, []string{"s1"}) || p.Current != 1 || len(p.Groups) != 2 {
			t.Fatalf("%s says %+v", name, p)
		}
		most, bare := p.Groups[0], p.Groups[1]
		if !slices.Equal(most.Migrations, []string{"0002", "0003", "0004"}) || !slices.Equal(most.Tenants, list[:3]) || !slices.Equal(bare.Tenants, list[4:]) || len(bare.Migrations) != 4 {
			t.Errorf("%s says %+v", name, p)
		}
		if name == "Plan" {
			if most.SQL != nil {
				t.Errorf("there is SQL: %q", most.SQL)
			}
			continue
		}
		mustShow(t, most.SQL, "0002 alter table invoices add column title text", `0003 CREATE TABLE "memos"`, `0003 INSERT INTO "memos"`, "'it''s'", "0003 update memos set text = 'what' where id = 7", "0004 select setval")
		mustShow(t, bare.SQL, "0001 create table invoices", "0002 alter table")
	}
	if p, err := m.Plan(t.Context(), migrator.To("0002"), migrator.Only(migrator.Selection{IDs: list[:2]})); err != nil || len(p.Groups) != 1 || !slices.Equal(p.Groups[0].Migrations, []string{"0002"}) || len(p.Groups[0].Tenants) != 2 {
		t.Errorf("of a part: %+v, %v", p, err)
	}
	noLocks(t, pool)
}

// mustShow checks that the statements have the words, in this order.
func mustShow(t *testing.T, sent []migrator.Statement, words ...string) {
	t.Helper()
	var all []string
	for _, s := range sent {
		all = append(all, s.Migration+" "+s.SQL)
	}
	rest := strings.Join(all, "\n")
	for _, w := range words {
		_, after, ok := strings.Cut(rest, w)
		if !ok {
			t.Errorf("%q is not shown, or not in this place, of\n%s", w, strings.Join(all, "\n"))
			return
		}
		rest = after
	}
	if strings.Contains(strings.Join(all, "\n"), "information_schema") || strings.Contains(strings.Join(all, "\n"), "pg_class") {
		t.Errorf("looks at the catalog are shown:\n%s", strings.Join(all, "\n"))
	}
}

// TestPlanSQLWithoutATransaction can't know what comes after, and says so.
func TestPlanSQLWithoutATransaction(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	pool, list := admin(t, dsn), tenants(t, "acme")
	m := migrator.New(open(t, dsn, plugin.BySchema()), list, withIndex())
	before := dump(t, pool)
	p, err := m.PlanSQL(t.Context())
	if err != nil || len(p.Groups) != 1 {
		t.Fatalf("%+v, %v", p, err)
	}
	mustShow(t, p.Groups[0].SQL, "0001 create table", "0002 alter table", "0003 -- not shown: 0003 runs outside of a transaction", "and after it 0004")
	if after := dump(t, pool); after != before {
		t.Errorf("changed\n%s\nto\n%s", before, after)
	}
	if len(p.Groups[0].SQL) != 3 {
		t.Errorf("got %q", p.Groups[0].SQL)
	}
}

// TestPlanSQLShowsTheGroupsThatDoNotFail, and says of the others who failed.
func TestPlanSQLShowsTheGroupsThatDoNotFail(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	db, pool, list := open(t, dsn, plugin.BySchema()), admin(t, dsn), tenants(t, "one", "two", "bare")
	if _, err := migrator.New(db, list[:2], two).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	mustExec(t, pool, "insert into tenant_one.invoices values (7, 'x'), (8, 'x')")
	before := dump(t, pool)
	p, err := migrator.New(db, list, append(slices.Clone(two), text("0003", "create unique index on invoices (title)"))).PlanSQL(t.Context())
	var tenantErr *scope.TenantError
	if code(err) != "23505" || !errors.As(err, &tenantErr) || tenantErr.Tenant != list[0] {
		t.Errorf("got error %v", err)
	}
	if len(p.Groups) != 2 {
		t.Fatalf("got %+v", p)
	}
	bad, good := p.Groups[0], p.Groups[1]
	if code(bad.Err) != "23505" || bad.SQL != nil || !slices.Equal(bad.Tenants, list[:2]) || good.Err != nil {
		t.Errorf("got %+v", p)
	}
	mustShow(t, good.SQL, "0001 create table", "0003 create unique index")
	if after := dump(t, pool); after != before {
		t.Errorf("changed\n%s\nto\n%s", before, after)
	}
	noLocks(t, pool)
}

// TestPlanSQLEndsWithItsContext and does not try the other groups.
func TestPlanSQLEndsWithItsContext(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	db, list := open(t, dsn, plugin.BySchema()), tenants(t, "one", "bare")
	if _, err := migrator.New(db, list[:1], two).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	p, err := migrator.New(db, list, append(slices.Clone(two), &gormigrate.Migration{ID: "0003", Migrate: func(*gorm.DB) error {
		cancel()
		return context.Canceled
	}})).PlanSQL(ctx)
	if !errors.Is(err, context.Canceled) || len(p.Groups) != 2 || p.Groups[0].Err == nil || p.Groups[1].Err != nil || p.Groups[1].SQL != nil {
		t.Errorf("got %+v, %v", p, err)
	}
}

func TestPlanSQLOfWhatFails(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	pool, list := admin(t, dsn), tenants(t, "acme")
	m := migrator.New(open(t, dsn, plugin.BySchema()), list, append(slices.Clone(two), text("0003", "select 1/0")))
	var tenantErr *scope.TenantError
	if _, err := m.PlanSQL(t.Context()); code(err) != "22012" || !errors.As(err, &tenantErr) || tenantErr.Tenant != list[0] || !strings.Contains(err.Error(), `"0003"`) {
		t.Errorf("got error %v", err)
	}
	if got := dump(t, pool); strings.Contains(got, "tenant_acme") {
		t.Errorf("there is\n%s", got)
	}
	noLocks(t, pool)
}
