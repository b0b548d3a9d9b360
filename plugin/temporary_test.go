package plugin_test

import (
	"context"
	"errors"
	"testing"

	"github.com/jackc/pgx/v5"
	"gorm.io/gorm"

	"github.com/tenantry/tenantry/plugin"
	"github.com/tenantry/tenantry/scope"
)

// deletable lets a's labels be deleted.
const deletable = "alter table tenant_a.invoice_labels drop constraint fk_invoice_labels_label"

// TestATemporaryTableThatTheTenantsHidesIsRefused makes one in every way, and empties what
// its name leads to, which is the tenant's.
func TestATemporaryTableThatTheTenantsHidesIsRefused(t *testing.T) {
	t.Parallel()
	db, _, dsn := twoTenants(t, nil, plugin.WithMaxConns(1))
	mustExec(t, admin(t, dsn), deletable, `create table tenant_a."Odd ""name" (n int)`, "create sequence tenant_a.numbers")
	for _, c := range []struct{ name, sql, hider string }{
		{"table", "create temp table labels (id bigint)", "tenant_a.labels"},
		{"table as", "CREATE TEMPORARY TABLE Labels AS SELECT 1 AS id", "tenant_a.labels"},
		{"comments between", "create /* a */ local -- b\n temp table if not exists labels (id bigint)", "tenant_a.labels"},
		{"quoted", `create temp table "Odd ""name" (n int)`, `tenant_a."Odd ""name"`},
		{"escaped", `create temp table u&"label\0073" (n int)`, "Unicode"},
		{"in pg_temp", "create table pg_temp.labels (id bigint)", "tenant_a.labels"},
		{"view", "create or replace temp view labels as select 1 as id", "tenant_a.labels"},
		{"sequence", "create temp sequence numbers", "tenant_a.numbers"},
		{"select into", "select 1 as id into temp labels", "tenant_a.labels"},
		{"a script that deletes", "create temp table labels (id bigint); delete from labels", "tenant_a.labels"},
		{"the second of a script", "create temp table scratch (n int); create temp table labels (id bigint); delete from labels", "tenant_a.labels"},
		{"of PostgreSQL's own", "create temp table pg_class (id bigint)", "pg_catalog.pg_class"},
	} {
		for way, run := range waysToSend(c.sql) {
			t.Run(c.name+" "+way, func(t *testing.T) {
				err := run(db.WithContext(as(t, "a")))
				mustSay(t, err, c.hider, "name")
				mustStillHave(t, db, "label of a")
			})
		}
	}
}

// waysToSend returns the ways in which a text goes to the server.
func waysToSend(sql string) map[string]func(*gorm.DB) error {
	empty := func(tx *gorm.DB) error { return tx.Exec("delete from labels").Error }
	return map[string]func(*gorm.DB) error{
		"alone": func(db *gorm.DB) error { return db.Exec(sql).Error },
		"queried": func(db *gorm.DB) error {
			rows, err := db.Raw(sql).Rows()
			if err == nil {
				err = errors.Join(rows.Err(), rows.Close())
			}
			return err
		},
		"first in a transaction": func(db *gorm.DB) error {
			return db.Transaction(func(tx *gorm.DB) error {
				if err := tx.Exec(sql).Error; err != nil {
					return err
				}
				return empty(tx)
			})
		},
		"later in a transaction": func(db *gorm.DB) error {
			return db.Transaction(func(tx *gorm.DB) error {
				if err := tx.Exec("select 1").Error; err != nil {
					return err
				}
				if err := tx.Exec(sql).Error; err != nil {
					return err
				}
				return empty(tx)
			})
		},
		"through pgx": func(db *gorm.DB) error {
			return db.Transaction(func(tx *gorm.DB) error {
				return plugin.WithConn(tx, func(c *pgx.Conn) error {
					if _, err := c.Exec(context.Background(), sql); err != nil {
						return err
					}
					_, err := c.Exec(context.Background(), "delete from labels")
					return err
				})
			})
		},
	}
}

func mustStillHave(t *testing.T, db *gorm.DB, want string) {
	t.Helper()
	var name string
	if err := db.WithContext(as(t, "a")).Raw("select name from labels").Scan(&name).Error; err != nil || name != want {
		t.Fatalf("got %q, %v", name, err)
	}
}

func TestWhatAHiddenTemporaryTableHasDoneThroughPgxIsNotCommitted(t *testing.T) {
	t.Parallel()
	db, _, dsn := twoTenants(t, nil, plugin.WithMaxConns(1))
	mustExec(t, admin(t, dsn), deletable)
	var inner error
	err := db.WithContext(as(t, "a")).Transaction(func(tx *gorm.DB) error {
		inner = plugin.WithConn(tx, func(c *pgx.Conn) error {
			_, err := c.Exec(context.Background(), "create temp table labels (id bigint); delete from labels")
			return err
		})
		return nil // and commits
	})
	mustSay(t, inner, "tenant_a.labels")
	if !errors.Is(err, pgx.ErrTxCommitRollback) {
		t.Errorf("the commit: %v", err)
	}
	mustStillHave(t, db, "label of a")
	// A savepoint in front of it takes back what it has done, and no more.
	err = db.WithContext(as(t, "a")).Transaction(func(tx *gorm.DB) error {
		if err := tx.Create(&Label{Name: "another"}).Error; err != nil {
			return err
		}
		inner = tx.Transaction(func(tx *gorm.DB) error {
			return plugin.WithConn(tx, func(c *pgx.Conn) error {
				_, err := c.Exec(context.Background(), "create temp table labels (id bigint); delete from labels")
				return err
			})
		})
		return nil
	})
	mustSay(t, inner, "tenant_a.labels")
	var n int
	if err := errors.Join(err, db.WithContext(as(t, "a")).Raw("select count(*) from labels").Scan(&n).Error); err != nil || n != 2 {
		t.Errorf("got %d labels, %v", n, err)
	}
}

// TestATemporaryTableThatNothingHidesIsMade makes one in every way, also where another tenant has a table of its name.
func TestATemporaryTableThatNothingHidesIsMade(t *testing.T) {
	t.Parallel()
	db, _, dsn := twoTenants(t, nil, plugin.WithMaxConns(1))
	mustExec(t, admin(t, dsn), deletable, "create table tenant_b.scratch (id bigint)", "create table public.scratch (id bigint)")
	for _, sql := range []string{
		"create temp table scratch (id bigint)", "create table pg_temp.scratch (id bigint)",
		"select 1 as id into temp scratch", "create temp table scratch (id bigint); insert into scratch values (1)",
	} {
		for way, run := range waysToSend(sql) {
			if err := run(db.WithContext(as(t, "a"))); err != nil && (way != "queried" || errors.Is(err, scope.ErrNone)) {
				t.Errorf("%q %s: %v", sql, way, err)
			}
			seedAgain(t, db)
		}
	}
	// What is shared hides it, too.
	shared, _ := open(t, dsn, nil, plugin.BySchema(plugin.WithSharedSchemas("public")))
	mustSay(t, shared.WithContext(as(t, "a")).Exec("create temp table scratch (id bigint)").Error, "public.scratch")
	mustSay(t, db.WithContext(scope.Shared(t.Context())).Exec("create temp table scratch (id bigint)").Error, "public.scratch")
}

// seedAgain puts back the label that the ways to send delete.
func seedAgain(t *testing.T, db *gorm.DB) {
	t.Helper()
	if err := db.WithContext(as(t, "a")).Exec("delete from invoice_labels; delete from labels; insert into labels (name) values ('label of a')").Error; err != nil {
		t.Fatal(err)
	}
}
