package plugin_test

import (
	"context"
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
