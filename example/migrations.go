package main

import (
	"time"

	"gorm.io/gorm"

	"github.com/tenantry/tenantry/migrator"
)

// migrations returns what every customer's schema goes through, when it is made
// and with each new version of the service. They have structs of their own, which
// stay as they are when the models change.
func migrations() migrator.Migrations {
	return migrator.Migrations{
		{ID: "0001_companies", Migrate: createCompanies},
		{ID: "0002_invoices", Migrate: createInvoices},
		{ID: "0003_line_quantity", Migrate: addQuantity},
		{ID: "0004_access", Migrate: createAccess},
		{ID: "0005_invoice_note", Migrate: addNote, Rollback: dropNote},
	}
}

// sharedMigrations returns those of the tables that belong to no customer.
func sharedMigrations() migrator.Migrations {
	return migrator.Migrations{{ID: "0001_signups", Migrate: createSignups}}
}

func createSignups(tx *gorm.DB) error {
	type signup struct {
		ID        int64
		Company   string    `gorm:"not null"`
		Contact   string    `gorm:"not null"`
		Email     string    `gorm:"not null"`
		CreatedAt time.Time `gorm:"not null"`
	}
	return tx.AutoMigrate(&signup{})
}

func createCompanies(tx *gorm.DB) error {
	type company struct {
		ID   int64
		Name string `gorm:"not null;unique"`
	}
	return tx.AutoMigrate(&company{})
}

func createInvoices(tx *gorm.DB) error {
	type company struct {
		ID int64
	}
	type line struct {
		ID        int64
		InvoiceID int64  `gorm:"not null;index"`
		Text      string `gorm:"not null"`
		Price     int64  `gorm:"not null"`
	}
	type invoice struct {
		ID        int64
		CompanyID int64 `gorm:"not null;index"`
		Company   company
		Lines     []line
		CreatedAt time.Time `gorm:"not null"`
	}
	return tx.AutoMigrate(&invoice{}, &line{})
}

func addQuantity(tx *gorm.DB) error {
	return tx.Exec("ALTER TABLE lines ADD COLUMN quantity bigint NOT NULL DEFAULT 1 CHECK (quantity > 0)").Error
}

// addNote makes room for what the next release will show: this one can do with it and
// without it, so it can be rolled out, and back, while customers are served.
func addNote(tx *gorm.DB) error {
	return tx.Exec("ALTER TABLE invoices ADD COLUMN note text NOT NULL DEFAULT ''").Error
}

func dropNote(tx *gorm.DB) error { return tx.Exec("ALTER TABLE invoices DROP COLUMN note").Error }

// createAccess makes the tables of who may come in: each customer's own.
func createAccess(tx *gorm.DB) error {
	type accessKey struct {
		Hash      []byte    `gorm:"primaryKey"`
		CreatedAt time.Time `gorm:"not null"`
	}
	type session struct {
		Token  string    `gorm:"primaryKey"`
		Data   []byte    `gorm:"not null"`
		Expiry time.Time `gorm:"not null;index"`
	}
	return tx.AutoMigrate(&accessKey{}, &session{})
}
