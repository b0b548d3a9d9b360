package catalog_test

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tenantry/tenantry/catalog"
)

// halfDrop leaves a database as a DROP DATABASE does that was cut off: it can only
// be dropped.
func halfDrop(t *testing.T, pool *pgxpool.Pool, database string) {
	t.Helper()
	execute(t, pool, "alter database "+database+" with is_template false")
	execute(t, pool, "update pg_database set datconnlimit = -2 where datname = $1", database)
}

func TestAHalfDroppedTemplateIsMadeAgain(t *testing.T) {
	t.Parallel()
	for name, suffix := range map[string]string{"template": "", "draft": "_new"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var log journal
			runs := countRuns()
			c, db, dsn := service(t, catalog.WithMigrations(runs.Migrations), catalog.WithLogger(slog.New(&log)))
			pool, prefix := admin(t, dsn), unique("half")
			create(t, c, ownDatabase(prefix+"-1"))
			template := templates(t, pool)[0]
			if suffix != "" {
				dropTemplates(t, dsn)
				execute(t, pool, "create database "+template+suffix)
			}
			halfDrop(t, pool, template+suffix)
			for _, id := range []string{prefix + "-2", prefix + "-3"} {
				create(t, c, ownDatabase(id))
				works(t, db, id)
			}
			runs.mustHaveRun(t, 2, 0)
			for _, id := range []string{prefix + "-1", prefix + "-2", prefix + "-3"} {
				if err := c.Drop(t.Context(), parse(t, id), id); err != nil {
					t.Error(err)
				}
			}
			if left := templates(t, pool); len(left) > 0 {
				t.Errorf("left are %q", left)
			}
			for _, m := range log.all() {
				if strings.Contains(m, "template database") && !strings.Contains(m, "made a template database") {
					t.Error(m)
				}
			}
		})
	}
}

func TestTheLastTemplateIsDroppedAlsoIfItIsHalfDropped(t *testing.T) {
	t.Parallel()
	c, _, dsn := service(t)
	pool, id := admin(t, dsn), unique("last")
	create(t, c, ownDatabase(id))
	halfDrop(t, pool, templates(t, pool)[0])
	if err := c.Drop(t.Context(), parse(t, id), id); err != nil {
		t.Error(err)
	}
	if left := templates(t, pool); len(left) > 0 {
		t.Errorf("left are %q", left)
	}
}

func TestAHalfDroppedDatabaseOfATenantIsRepaired(t *testing.T) {
	t.Parallel()
	c, db, dsn := service(t)
	pool, prefix := admin(t, dsn), unique("half")
	for _, state := range []catalog.State{catalog.Provisioning, catalog.Failed, catalog.Deleting} {
		id := prefix + "-" + string(state)
		tenant := create(t, c, ownDatabase(id))
		halfDrop(t, pool, tenant.Database)
		execute(t, pool, "update tenantry.tenants set state = $1, activated_at = null where id = $2", state, id)
	}
	if err := c.Repair(t.Context()); err != nil {
		t.Fatal(err)
	}
	works(t, db, prefix+"-provisioning")
	works(t, db, prefix+"-failed")
	_, err := c.Get(t.Context(), parse(t, prefix+"-deleting"))
	mustBe(t, err, catalog.ErrUnknown)
	mustMatch(t, c, pool, prefix)
}
