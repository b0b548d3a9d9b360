package plugin_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/tenantry/tenantry/internal/pgproxy"
	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
	"github.com/tenantry/tenantry/plugin"
	"github.com/tenantry/tenantry/scope"
)

// entryPoint is one way of GORM or database/sql to reach the database. It
// returns the titles, texts or names that it has seen.
type entryPoint struct {
	name string
	run  func(ctx context.Context, db *gorm.DB) ([]string, error)
}

func titles(invoices []Invoice) []string {
	out := make([]string, len(invoices))
	for i, invoice := range invoices {
		out[i] = invoice.Title
	}
	return out
}

// entryPoints all see, for tenant x, exactly "x", "line of x" or "label of x".
func entryPoints() []entryPoint {
	return slices.Concat(readers(), writers(), transactions(), belowGORM())
}

func readers() []entryPoint {
	return []entryPoint{
		{"Find", func(ctx context.Context, db *gorm.DB) ([]string, error) {
			var rows []Invoice
			err := db.WithContext(ctx).Find(&rows).Error
			return titles(rows), err
		}},
		{"First", func(ctx context.Context, db *gorm.DB) ([]string, error) {
			var row Invoice
			err := db.WithContext(ctx).First(&row, 1).Error
			return []string{row.Title}, err
		}},
		{"Pluck", func(ctx context.Context, db *gorm.DB) (out []string, err error) {
			err = db.WithContext(ctx).Model(&Invoice{}).Pluck("title", &out).Error
			return out, err
		}},
		{"Count", func(ctx context.Context, db *gorm.DB) ([]string, error) {
			var n int64
			err := db.WithContext(ctx).Model(&Invoice{}).Where("title <> ?", "").Count(&n).Error
			if err == nil && n != 1 {
				err = fmt.Errorf("counted %d, each tenant has 1", n)
			}
			return nil, err
		}},
		{"Row", func(ctx context.Context, db *gorm.DB) ([]string, error) {
			var title string
			row := db.WithContext(ctx).Model(&Invoice{}).Select("title").Row()
			if err := row.Err(); err != nil {
				return nil, err
			}
			err := row.Scan(&title)
			return []string{title}, err
		}},
		{"Rows", func(ctx context.Context, db *gorm.DB) ([]string, error) {
			rows, err := db.WithContext(ctx).Model(&Invoice{}).Rows()
			if err != nil {
				return nil, err
			}
			var out []string
			for rows.Next() {
				var row Invoice
				if err := db.ScanRows(rows, &row); err != nil {
					return nil, err
				}
				out = append(out, row.Title)
			}
			return out, errors.Join(rows.Err(), rows.Close())
		}},
		{"FindInBatches", func(ctx context.Context, db *gorm.DB) (out []string, err error) {
			var rows []Invoice
			err = db.WithContext(ctx).FindInBatches(&rows, 1, func(*gorm.DB, int) error {
				out = append(out, titles(rows)...)
				return nil
			}).Error
			return out, err
		}},
		{"Preload", func(ctx context.Context, db *gorm.DB) ([]string, error) {
			var row Invoice
			err := db.WithContext(ctx).Preload("Lines").Preload("Labels").First(&row, 1).Error
			out := []string{row.Title}
			for _, l := range row.Lines {
				out = append(out, l.Text)
			}
			for _, l := range row.Labels {
				out = append(out, l.Name)
			}
			return out, err
		}},
		{"Joins", func(ctx context.Context, db *gorm.DB) ([]string, error) {
			var row Line
			err := db.WithContext(ctx).Joins("Invoice").First(&row).Error
			if err != nil {
				return nil, err
			}
			return []string{row.Text, row.Invoice.Title}, nil
		}},
		{"Association many2many", func(ctx context.Context, db *gorm.DB) ([]string, error) {
			var labels []Label
			err := db.WithContext(ctx).Model(&Invoice{ID: 1}).Association("Labels").Find(&labels)
			var out []string
			for _, l := range labels {
				out = append(out, l.Name)
			}
			return out, err
		}},
		{"hook", func(ctx context.Context, db *gorm.DB) ([]string, error) {
			var row Invoice
			err := db.WithContext(ctx).Set("hook", true).First(&row, 1).Error
			return row.hooked, err
		}},
		{"raw SQL", func(ctx context.Context, db *gorm.DB) (out []string, err error) {
			err = db.WithContext(ctx).Raw("select title from invoices where title <> ?", "").Scan(&out).Error
			return out, err
		}},
		{"PrepareStmt", func(ctx context.Context, db *gorm.DB) ([]string, error) {
			var rows []Invoice
			err := db.Session(&gorm.Session{PrepareStmt: true, Context: ctx}).Where("title <> ?", "").Find(&rows).Error
			return titles(rows), err
		}},
		{"generics", func(ctx context.Context, db *gorm.DB) ([]string, error) {
			rows, err := gorm.G[Invoice](db).Where("title <> ?", "").Find(ctx)
			return titles(rows), err
		}},
		{"generics raw", func(ctx context.Context, db *gorm.DB) ([]string, error) {
			rows, err := gorm.G[Invoice](db).Raw("select * from invoices").Find(ctx)
			return titles(rows), err
		}},
		{"Migrator", func(ctx context.Context, db *gorm.DB) ([]string, error) {
			types, err := db.WithContext(ctx).Migrator().ColumnTypes(&Invoice{})
			if err == nil && len(types) != 3 {
				err = fmt.Errorf("%d columns, want 3", len(types))
			}
			return nil, err
		}},
		{"GetTables", func(ctx context.Context, db *gorm.DB) ([]string, error) {
			tables, err := db.WithContext(ctx).Migrator().GetTables()
			if err == nil && len(tables) != 4 {
				err = fmt.Errorf("tables %v, want the tenant's 4", tables)
			}
			return nil, err
		}},
		{"AutoMigrate", func(ctx context.Context, db *gorm.DB) ([]string, error) {
			return nil, db.WithContext(ctx).AutoMigrate(&Invoice{}, &Line{}, &Label{})
		}},
	}
}

func writers() []entryPoint {
	undo := errors.New("undo")
	// undone runs f and takes back what it did.
	undone := func(f func(tx *gorm.DB) error) func(context.Context, *gorm.DB) ([]string, error) {
		return func(ctx context.Context, db *gorm.DB) (out []string, err error) {
			err = db.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
				if err := f(tx); err != nil {
					return err
				}
				if err := tx.Model(&Invoice{}).Pluck("title", &out).Error; err != nil {
					return err
				}
				return undo
			})
			if errors.Is(err, undo) {
				err = nil
			}
			return out, err
		}
	}
	return []entryPoint{
		{"Create and Delete", func(ctx context.Context, db *gorm.DB) ([]string, error) {
			row := Invoice{ID: 1000, Title: "new"}
			if err := db.WithContext(ctx).Create(&row).Error; err != nil {
				return nil, err
			}
			res := db.WithContext(ctx).Delete(&row)
			if res.Error == nil && res.RowsAffected != 1 {
				return nil, fmt.Errorf("deleted %d rows, want 1", res.RowsAffected)
			}
			return nil, res.Error
		}},
		{"Create without a default transaction", func(ctx context.Context, db *gorm.DB) ([]string, error) {
			s := db.Session(&gorm.Session{SkipDefaultTransaction: true, Context: ctx})
			row := Invoice{ID: 1001, Title: "new"}
			return nil, errors.Join(s.Create(&row).Error, s.Delete(&Invoice{ID: 1001}).Error)
		}},
		{"CreateInBatches", undone(func(tx *gorm.DB) error {
			return tx.CreateInBatches([]Invoice{{ID: 2000, Title: ""}, {ID: 2001, Title: ""}}, 1).Error
		})},
		{"Save", func(ctx context.Context, db *gorm.DB) ([]string, error) {
			var row Invoice
			if err := db.WithContext(ctx).First(&row, 1).Error; err != nil {
				return nil, err
			}
			return []string{row.Title}, db.WithContext(ctx).Save(&row).Error
		}},
		{"Updates", func(ctx context.Context, db *gorm.DB) ([]string, error) {
			res := db.WithContext(ctx).Model(&Invoice{}).Where("id = ?", 1).Updates(map[string]any{"cents": gorm.Expr("cents + ?", 1)})
			return nil, res.Error
		}},
		{"upsert", func(ctx context.Context, db *gorm.DB) ([]string, error) {
			return nil, db.WithContext(ctx).Clauses(clause.OnConflict{DoNothing: true}).Create(&Invoice{ID: 1, Title: "not used"}).Error
		}},
		{"Exec", func(ctx context.Context, db *gorm.DB) ([]string, error) {
			return nil, db.WithContext(ctx).Exec("update invoices set cents = 0").Error
		}},
		{"Exec of a script", func(ctx context.Context, db *gorm.DB) ([]string, error) {
			return nil, db.WithContext(ctx).Exec("update invoices set cents = 1; update invoices set cents = 0").Error
		}},
		{"Exec of DO", func(ctx context.Context, db *gorm.DB) ([]string, error) {
			return nil, db.WithContext(ctx).Exec("do $$ begin update invoices set cents = 0; end $$").Error
		}},
		{"Exec of CALL", func(ctx context.Context, db *gorm.DB) ([]string, error) {
			err := db.WithContext(ctx).Exec("create or replace procedure reset_cents(n bigint) language sql as $$ update invoices set cents = n $$").Error
			if err != nil {
				return nil, err
			}
			return nil, db.WithContext(ctx).Exec("call reset_cents(?)", 0).Error
		}},
		{"Exec outside a transaction", func(ctx context.Context, db *gorm.DB) ([]string, error) {
			return nil, db.WithContext(ctx).Exec("vacuum invoices").Error
		}},
		{"generics create", func(ctx context.Context, db *gorm.DB) ([]string, error) {
			if err := gorm.G[Invoice](db).Create(ctx, &Invoice{ID: 1002, Title: "new"}); err != nil {
				return nil, err
			}
			_, err := gorm.G[Invoice](db).Where("id = ?", 1002).Delete(ctx)
			return nil, err
		}},
	}
}

func transactions() []entryPoint {
	find := func(tx *gorm.DB) ([]string, error) {
		var rows []Invoice
		err := tx.Find(&rows).Error
		return titles(rows), err
	}
	return []entryPoint{
		{"Transaction", func(ctx context.Context, db *gorm.DB) (out []string, err error) {
			err = db.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
				out, err = find(tx)
				return err
			})
			return out, err
		}},
		{"Transaction with options", func(ctx context.Context, db *gorm.DB) (out []string, err error) {
			err = db.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
				out, err = find(tx)
				return err
			}, &sql.TxOptions{ReadOnly: true, Isolation: sql.LevelSerializable})
			return out, err
		}},
		{"Transaction with PrepareStmt", func(ctx context.Context, db *gorm.DB) (out []string, err error) {
			err = db.Session(&gorm.Session{PrepareStmt: true, Context: ctx}).Transaction(func(tx *gorm.DB) error {
				out, err = find(tx)
				return err
			})
			return out, err
		}},
		{"savepoints", func(ctx context.Context, db *gorm.DB) (out []string, err error) {
			err = db.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
				inner := tx.Transaction(func(tx *gorm.DB) error {
					if err := tx.Create(&Invoice{ID: 3000, Title: "inner"}).Error; err != nil {
						return err
					}
					return tx.Exec("select * from no_such_table").Error
				})
				if inner == nil || !strings.Contains(inner.Error(), "no_such_table") {
					return fmt.Errorf("the inner transaction: %w", inner)
				}
				out, err = find(tx)
				return err
			})
			return out, err
		}},
		{"Begin and Rollback", func(ctx context.Context, db *gorm.DB) ([]string, error) {
			tx := db.WithContext(ctx).Begin()
			if tx.Error != nil {
				return nil, tx.Error
			}
			out, err := find(tx)
			return out, errors.Join(err, tx.Rollback().Error)
		}},
		{"Connection", func(ctx context.Context, db *gorm.DB) (out []string, err error) {
			err = db.WithContext(ctx).Connection(func(tx *gorm.DB) error {
				if out, err = find(tx); err != nil {
					return err
				}
				return tx.Transaction(func(tx *gorm.DB) error { _, err := find(tx); return err })
			})
			return out, err
		}},
		{"WithConn", func(ctx context.Context, db *gorm.DB) (out []string, err error) {
			err = db.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
				return plugin.WithConn(tx, func(c *pgx.Conn) error {
					if n, err := c.CopyFrom(ctx, pgx.Identifier{"labels"}, []string{"name"}, pgx.CopyFromRows([][]any{{"copied"}})); err != nil || n != 1 {
						return fmt.Errorf("%d rows copied: %w", n, err)
					}
					var b pgx.Batch
					b.Queue("delete from labels where name = $1", "copied")
					b.Queue("select title from invoices")
					results := c.SendBatch(ctx, &b)
					if tag, err := results.Exec(); err != nil || tag.RowsAffected() != 1 {
						return errors.Join(fmt.Errorf("%s: %w", tag, err), results.Close())
					}
					rows, err := results.Query()
					if err == nil {
						out, err = pgx.CollectRows(rows, pgx.RowTo[string])
					}
					return errors.Join(err, results.Close())
				})
			})
			return out, err
		}},
	}
}

// belowGORM reaches the same through db.DB(), as other libraries do.
func belowGORM() []entryPoint {
	scan := func(rows *sql.Rows, err error) ([]string, error) {
		if err != nil {
			return nil, err
		}
		var out []string
		for rows.Next() {
			var s string
			if err := rows.Scan(&s); err != nil {
				return nil, err
			}
			out = append(out, s)
		}
		return out, errors.Join(rows.Err(), rows.Close())
	}
	const query = "select title from invoices where title <> $1"
	with := func(f func(ctx context.Context, pool *sql.DB) ([]string, error)) func(context.Context, *gorm.DB) ([]string, error) {
		return func(ctx context.Context, db *gorm.DB) ([]string, error) {
			pool, err := db.DB()
			if err != nil {
				return nil, err
			}
			return f(ctx, pool)
		}
	}
	return []entryPoint{
		{"DB().QueryContext", with(func(ctx context.Context, pool *sql.DB) ([]string, error) {
			return scan(pool.QueryContext(ctx, query, ""))
		})},
		{"DB().QueryContext with a query mode", with(func(ctx context.Context, pool *sql.DB) ([]string, error) {
			return scan(pool.QueryContext(ctx, query, pgx.QueryExecModeSimpleProtocol, ""))
		})},
		{"DB().QueryContext with named arguments", with(func(ctx context.Context, pool *sql.DB) ([]string, error) {
			return scan(pool.QueryContext(ctx, "select title from invoices where title <> @t", pgx.NamedArgs{"t": ""}))
		})},
		{"DB().ExecContext", with(func(ctx context.Context, pool *sql.DB) ([]string, error) {
			_, err := pool.ExecContext(ctx, "update invoices set cents = $1", 0)
			return nil, err
		})},
		{"DB().PrepareContext", with(func(ctx context.Context, pool *sql.DB) ([]string, error) {
			stmt, err := pool.PrepareContext(ctx, query)
			if err != nil {
				return nil, err
			}
			out, err := scan(stmt.QueryContext(ctx, ""))
			return out, errors.Join(err, stmt.Close())
		})},
		{"DB().BeginTx", with(func(ctx context.Context, pool *sql.DB) ([]string, error) {
			tx, err := pool.BeginTx(ctx, nil)
			if err != nil {
				return nil, err
			}
			out, err := scan(tx.QueryContext(ctx, query, ""))
			return out, errors.Join(err, tx.Commit())
		})},
		{"DB().Conn", with(func(ctx context.Context, pool *sql.DB) ([]string, error) {
			conn, err := pool.Conn(ctx)
			if err != nil {
				return nil, err
			}
			out, err := scan(conn.QueryContext(ctx, query, ""))
			return out, errors.Join(err, conn.Close())
		})},
	}
}

// configurations are those of GORM that change how statements are sent.
func configurations() map[string]*gorm.Config {
	return map[string]*gorm.Config{
		"default":                {},
		"PrepareStmt":            {PrepareStmt: true},
		"SkipDefaultTransaction": {SkipDefaultTransaction: true},
	}
}

// TestEveryEntryPointReachesItsTenant runs each entry point for both tenants in
// turn, in each of GORM's configurations.
func TestEveryEntryPointReachesItsTenant(t *testing.T) {
	t.Parallel()
	for name, cfg := range configurations() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db, _, _ := twoTenants(t, cfg, plugin.WithMaxConns(2))
			for _, e := range entryPoints() {
				for _, id := range []string{"a", "b", "a"} {
					seen, err := e.run(as(t, id), db)
					if err != nil {
						t.Errorf("%s for %s: %v", e.name, id, err)
					}
					mustBeOwn(t, e.name, id, seen)
				}
			}
		})
	}
}

// TestNoScopeIsAnErrorAndSendsNothing runs each entry point without a scope and
// counts bytes at the socket.
func TestNoScopeIsAnErrorAndSendsNothing(t *testing.T) {
	t.Parallel()
	for name, cfg := range configurations() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dsn := pgtest.Database(t)
			mustExec(t, admin(t, dsn), "create schema tenant_a", "create table public.invoices (id bigint, title text)")
			proxy := pgproxy.Start(t, dsn)
			db, p := open(t, proxy.DSN(dsn), cfg, plugin.BySchema())
			if err := db.WithContext(as(t, "a")).AutoMigrate(&Invoice{}, &Line{}, &Label{}); err != nil {
				t.Fatal(err) // also proves that the proxy counts
			}
			for _, e := range entryPoints() {
				before, refused := proxy.BytesToServer(), p.Stats().Refused
				_, err := e.run(t.Context(), db)
				if !errors.Is(err, scope.ErrNone) {
					t.Errorf("%s: got error %v, want scope.ErrNone", e.name, err)
				}
				if sent := proxy.BytesToServer() - before; sent != 0 {
					t.Errorf("%s sent %d bytes", e.name, sent)
				}
				if p.Stats().Refused == refused {
					t.Errorf("%s is not counted as refused", e.name)
				}
			}
			if proxy.BytesToServer() == 0 {
				t.Error("the proxy has counted nothing at all")
			}
		})
	}
}

// TestDryRunBuildsSQLOnly needs no scope because it sends nothing.
func TestDryRunBuildsSQLOnly(t *testing.T) {
	t.Parallel()
	db, p, _ := twoTenants(t, nil)
	before := p.Stats()
	stmt := db.Session(&gorm.Session{DryRun: true}).Where("id = ?", 1).Find(&[]Invoice{}).Statement
	if stmt.SQL.String() == "" {
		t.Error("no SQL")
	}
	if after := p.Stats(); after.Statements != before.Statements || after.Refused != before.Refused {
		t.Errorf("stats went from %+v to %+v", before, after)
	}
}
