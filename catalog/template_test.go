package catalog_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/go-gormigrate/gormigrate/v2"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"gorm.io/gorm"

	"github.com/tenantry/tenantry/catalog"
	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
	"github.com/tenantry/tenantry/migrator"
	"github.com/tenantry/tenantry/scope"
)

// countedRuns are migrations that count how often they run.
type countedRuns struct {
	migrator.Migrations
	blank, tenant atomic.Int32 // runs without and with a tenant
}

func countRuns() *countedRuns {
	c := &countedRuns{Migrations: migrations()}
	migrate := c.Migrations[0].Migrate
	c.Migrations[0] = &gormigrate.Migration{ID: c.Migrations[0].ID, Migrate: func(tx *gorm.DB) error {
		if _, err := scope.From(tx.Statement.Context); err != nil {
			c.blank.Add(1)
		} else {
			c.tenant.Add(1)
		}
		return migrate(tx)
	}}
	return c
}

func (c *countedRuns) mustHaveRun(t *testing.T, blank, tenant int32) {
	t.Helper()
	if b, n := c.blank.Load(), c.tenant.Load(); b != blank || n != tenant {
		t.Errorf("the migrations ran %d times without and %d times with a tenant, want %d and %d", b, n, blank, tenant)
	}
}

func ownDatabase(id string) catalog.New { return catalog.New{ID: id, Kind: catalog.OwnDatabase} }

func TestATemplateHoldsTheMigratedTables(t *testing.T) {
	t.Parallel()
	runs := countRuns()
	c, db, dsn := service(t, catalog.WithMigrations(runs.Migrations))
	pool, prefix := admin(t, dsn), unique("blank")
	for i := range 3 {
		tenant := create(t, c, ownDatabase(fmt.Sprintf("%s-%d", prefix, i)))
		works(t, db, tenant.ID.String())
		var applied []string
		err := db.WithContext(scope.With(t.Context(), tenant.ID)).Raw("select id from migrations").Scan(&applied).Error
		if err != nil || !slices.Contains(applied, "1-invoices") {
			t.Errorf("%s: applied are %q, %v", tenant.ID, applied, err)
		}
	}
	runs.mustHaveRun(t, 1, 0)
	if n := len(templates(t, pool)); n != 1 {
		t.Errorf("%d templates", n)
	}
	mustMatch(t, c, pool, prefix)
}

func TestConcurrentFirstSignUpsMakeOneTemplate(t *testing.T) {
	t.Parallel()
	runs, key := countRuns(), testKey(t, "k1")
	dsn, prefix := pgtest.Database(t), unique("first")
	opts := []catalog.Option{catalog.WithMigrations(runs.Migrations), catalog.WithKeys(catalog.FixedKeys{key})}
	processes := []*catalog.Catalog{open(t, dsn, opts...), open(t, dsn, opts...)}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			if _, err := processes[i%2].Create(t.Context(), ownDatabase(fmt.Sprintf("%s-%d", prefix, i))); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	runs.mustHaveRun(t, 1, 0)
}

func TestATemplateIsMadeAnewWhenTheMigrationsChange(t *testing.T) {
	t.Parallel()
	c, _, dsn := service(t)
	pool, prefix := admin(t, dsn), unique("anew")
	create(t, c, ownDatabase(prefix+"-old"))
	old := templates(t, pool)
	next := open(t, dsn, catalog.WithMigrations(append(migrations(), second())))
	tenant := create(t, next, ownDatabase(prefix+"-new"))
	if both := templates(t, pool); len(both) != 2 || !slices.Contains(both, old[0]) {
		t.Errorf("templates are %q, before it was %q: a young one stays", both, old)
	}
	theirs := admin(t, inDatabase(t, dsn, tenant.Database))
	if n := one[int](t, theirs, "select count(*)::int from migrations where id = '2-notes'"); n != 1 {
		t.Error("the new tenant lacks the new migration")
	}
	one[int](t, theirs, "select count(*)::int from notes")
}

// comment changes the mark of a database.
func comment(t *testing.T, pool *pgxpool.Pool, database, text string) {
	t.Helper()
	execute(t, pool, fmt.Sprintf("comment on database %s is '%s'", pgx.Identifier{database}.Sanitize(), text))
}

func TestAnOldTemplateGoesAfterADay(t *testing.T) {
	t.Parallel()
	c, _, dsn := service(t)
	pool, prefix := admin(t, dsn), unique("aged")
	create(t, c, ownDatabase(prefix+"-old"))
	old := templates(t, pool)[0]
	foreign := "tenantry_" + identity(t, pool) + "_notes"
	execute(t, pool, "create database "+foreign)
	comment(t, pool, old, "tenantry "+identity(t, pool)+" template 2020-01-01T00:00:00Z")
	create(t, open(t, dsn, catalog.WithMigrations(append(migrations(), second()))), ownDatabase(prefix+"-new"))
	left := templates(t, pool)
	if slices.Contains(left, old) || len(left) != 2 || !slices.Contains(left, foreign) {
		t.Errorf("left are %q: want neither %q, which is old, nor to lose what has no mark", left, old)
	}
}

func TestMigrationsThatNeedATenantRunForEach(t *testing.T) {
	t.Parallel()
	var log journal
	var runs atomic.Int32
	needy := append(migrations(), &gormigrate.Migration{ID: "2-greeting", Migrate: func(tx *gorm.DB) error {
		tenant, err := scope.From(tx.Statement.Context)
		if err != nil {
			return err
		}
		runs.Add(1)
		return tx.Create(&Invoice{Title: "welcome, " + tenant.String()}).Error
	}})
	c, db, dsn := service(t, catalog.WithMigrations(needy), catalog.WithLogger(slog.New(&log)))
	prefix := unique("needy")
	for i := range 2 {
		id := fmt.Sprintf("%s-%d", prefix, i)
		create(t, c, ownDatabase(id))
		works(t, db, id)
		var titles []string
		err := db.WithContext(as(t, id)).Model(&Invoice{}).Order("id").Pluck("title", &titles).Error
		if err != nil || !slices.Equal(titles, []string{"welcome, " + id, id}) {
			t.Errorf("%s: got %q, %v", id, titles, err)
		}
	}
	warned := 0
	for _, m := range log.all() {
		if strings.Contains(m, "migrations run for each tenant") {
			warned++
		}
	}
	if warned != 1 || runs.Load() != 2 {
		t.Errorf("%d warnings, %d runs, want 1 and 2", warned, runs.Load())
	}
	if left := templates(t, admin(t, dsn)); len(left) > 0 {
		t.Errorf("left are %q", left)
	}
}

func TestATemplateThatVanishedIsMadeAgain(t *testing.T) {
	t.Parallel()
	runs := countRuns()
	c, db, dsn := service(t, catalog.WithMigrations(runs.Migrations))
	prefix := unique("gone")
	create(t, c, ownDatabase(prefix+"-1"))
	dropTemplates(t, dsn)
	create(t, c, ownDatabase(prefix+"-2"))
	works(t, db, prefix+"-2")
	runs.mustHaveRun(t, 2, 0)
}

// TestADraftThatWasCutOffIsNoHindrance: a process may end between any two
// statements that make a template.
func TestADraftThatWasCutOffIsNoHindrance(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]string{
		"made":   "",
		"sealed": "alter database %s with is_template true allow_connections false",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			runs := countRuns()
			c, db, dsn := service(t, catalog.WithMigrations(runs.Migrations))
			pool, prefix := admin(t, dsn), unique("draft")
			create(t, c, ownDatabase(prefix+"-1"))
			template := templates(t, pool)[0]
			dropTemplates(t, dsn)
			execute(t, pool, "create database "+template+"_new")
			if change != "" {
				execute(t, pool, fmt.Sprintf(change, template+"_new"))
			}
			create(t, c, ownDatabase(prefix+"-2"))
			works(t, db, prefix+"-2")
			runs.mustHaveRun(t, 2, 0)
			if left := templates(t, pool); !slices.Equal(left, []string{template}) {
				t.Errorf("left are %q", left)
			}
		})
	}
}

// TestATemplateThatCantBeCopied: something is wrong with it, the tenant is made
// all the same.
func TestATemplateThatCantBeCopied(t *testing.T) {
	t.Parallel()
	var log journal
	runs := countRuns()
	c, db, dsn := service(t, catalog.WithMigrations(runs.Migrations), catalog.WithLogger(slog.New(&log)))
	pool, prefix := admin(t, dsn), unique("inuse")
	create(t, c, ownDatabase(prefix+"-1"))
	template := templates(t, pool)[0]
	execute(t, pool, "alter database "+template+" with allow_connections true")
	busy, err := pgx.Connect(t.Context(), inDatabase(t, dsn, template))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = busy.Close(context.Background()) })
	create(t, c, ownDatabase(prefix+"-2"))
	works(t, db, prefix+"-2")
	runs.mustHaveRun(t, 1, 1)
	if !slices.ContainsFunc(log.all(), func(m string) bool { return strings.Contains(m, "could not be copied") }) {
		t.Errorf("no warning in %q", log.all())
	}
}
