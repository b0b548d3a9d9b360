package plugin_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"gorm.io/gorm"

	"github.com/tenantry/tenantry/plugin"
)

// TestStatementsOfATransactionWhoseConnectionIsLentFail at once: they would wait for the function
// that sends them. Behind it they work again, also where it panics.
func TestStatementsOfATransactionWhoseConnectionIsLentFail(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]*gorm.Config{"plain": {}, "prepared": {PrepareStmt: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db, _, _ := twoTenants(t, cfg, plugin.WithMaxConns(2))
			ctx, cancel := context.WithTimeout(as(t, "a"), 20*time.Second)
			defer cancel()
			statements := map[string]func(tx *gorm.DB) error{
				"Exec":    func(tx *gorm.DB) error { return tx.Exec("select 1").Error },
				"a read":  func(tx *gorm.DB) error { return tx.First(&Invoice{}, 1).Error },
				"a write": func(tx *gorm.DB) error { return tx.Create(&Invoice{Title: "x"}).Error },
				"Row":     func(tx *gorm.DB) error { return tx.Raw("select 1").Row().Err() },
				"nested": func(tx *gorm.DB) error {
					return tx.Transaction(func(in *gorm.DB) error { return in.Exec("select 1").Error })
				},
				"WithConn": func(tx *gorm.DB) error { return plugin.WithConn(tx, func(*pgx.Conn) error { return nil }) },
			}
			err := db.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
				err := plugin.WithConn(tx, func(c *pgx.Conn) error {
					for name, run := range statements {
						t.Run(name, func(t *testing.T) { mustSay(t, run(tx), "lent", "WithConn") })
					}
					if err := db.WithContext(ctx).First(&Invoice{}, 1).Error; err != nil { // on another connection
						t.Error(err)
					}
					_, err := c.Exec(ctx, "update invoices set cents = 7")
					return err
				})
				if err != nil {
					return err
				}
				func() {
					defer func() { _ = recover() }()
					_ = plugin.WithConn(tx, func(*pgx.Conn) error { panic("no") })
				}()
				return tx.Exec("update invoices set cents = cents + 1").Error
			})
			if err != nil {
				t.Fatal(err)
			}
			var got Invoice
			if err := db.WithContext(ctx).First(&got, 1).Error; err != nil || got.Cents != 8 {
				t.Errorf("cents are %d, error %v; want 8", got.Cents, err)
			}
		})
	}
}

// TestABatchIsReadByItsReplies: pgx writes it past its frontend, so that its texts are not seen.
func TestABatchIsReadByItsReplies(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		texts  []string
		says   string // the error, if there is one
		opened int64  // connections, as the one that was lent was closed
		titles []string
	}{
		"statements":         {[]string{"insert into invoices (title) values ('one')", "insert into invoices (title) values ('two')"}, "", 0, []string{"a", "one", "two"}},
		"a savepoint":        {[]string{"savepoint s", "insert into invoices (title) values ('one')", "rollback to s"}, "", 0, []string{"a"}},
		"SET":                {[]string{"set application_name = 'left by a'"}, "", 1, []string{"a"}},
		"PREPARE":            {[]string{"prepare x as select 1"}, "", 1, []string{"a"}},
		"LISTEN":             {[]string{"listen x"}, "", 1, []string{"a"}},
		"COMMIT and BEGIN":   {[]string{"insert into invoices (title) values ('one')", "commit", "begin", "set local search_path = tenant_a", "insert into invoices (title) values ('two')"}, "a batch has begun or ended", 1, []string{"a", "one"}},
		"ROLLBACK and BEGIN": {[]string{"rollback", "begin", "set local search_path = tenant_a", "insert into invoices (title) values ('two')"}, "a batch has begun or ended", 1, []string{"a"}},
		"ROLLBACK":           {[]string{"rollback"}, "has ended the transaction", 0, []string{"a"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db, p, dsn := twoTenants(t, nil, plugin.WithMaxConns(1))
			ctx := as(t, "a")
			opened := p.Stats().Base.NewConnsCount()
			err := db.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
				return plugin.WithConn(tx, func(c *pgx.Conn) error {
					var b pgx.Batch
					for _, text := range tt.texts {
						b.Queue(text)
					}
					return c.SendBatch(ctx, &b).Close()
				})
			})
			if tt.says != "" {
				mustSay(t, err, tt.says)
			} else if err != nil {
				t.Error(err)
			}
			var name string
			if err := db.WithContext(as(t, "b")).Raw("show application_name").Scan(&name).Error; err != nil || name == "left by a" {
				t.Errorf("b's session has the name %q, error %v", name, err)
			}
			if n := p.Stats().Base.NewConnsCount() - opened; n != tt.opened {
				t.Errorf("%d connections were opened, want %d", n, tt.opened)
			}
			if got := one[[]string](t, admin(t, dsn), "select array_agg(title order by title) from tenant_a.invoices"); !slices.Equal(got, tt.titles) {
				t.Errorf("a has %q, want %q", got, tt.titles)
			}
		})
	}
}
