package main

import (
	"context"
	"database/sql"
	"errors"

	"github.com/riverqueue/river"
	"gorm.io/gorm"

	"github.com/tenantry/tenantry/migrator"
)

// Invoice is a row of a customer. Nothing in it says of which.
type Invoice struct {
	ID    int64
	Title string
	Sent  bool
}

func migrations() migrator.Migrations {
	return migrator.Migrations{{
		ID:      "0001_invoices",
		Migrate: func(tx *gorm.DB) error { return tx.AutoMigrate(&Invoice{}) },
	}}
}

// sendInvoice is what a job is to do. Nothing in it says for whom.
type sendInvoice struct {
	InvoiceID int64 `json:"invoice_id"`
}

// Kind implements river.JobArgs.
func (sendInvoice) Kind() string { return "send_invoice" }

// issue writes an invoice and the job that sends it: both or neither.
func (s *service) issue(ctx context.Context, title string) error {
	return s.db.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
		invoice := Invoice{Title: title}
		if err := tx.Create(&invoice).Error; err != nil {
			return err
		}
		return s.insert(tx, sendInvoice{InvoiceID: invoice.ID})
	})
}

// insert inserts a job in a transaction of GORM's, for the tenant whose it is.
func (s *service) insert(tx *gorm.DB, args river.JobArgs) error {
	sqlTx, ok := tx.Statement.ConnPool.(*sql.Tx)
	if !ok {
		return errors.New("jobs: not in a transaction: use db.Transaction")
	}
	_, err := s.jobs.InsertTx(tx.Statement.Context, sqlTx, args, nil)
	return err
}

// sender works the jobs.
type sender struct {
	river.WorkerDefaults[sendInvoice]
	db *gorm.DB
}

// Work implements river.Worker. It is ordinary GORM code: ctx has the tenant.
func (s *sender) Work(ctx context.Context, job *river.Job[sendInvoice]) error {
	var invoice Invoice
	if err := s.db.WithContext(ctx).First(&invoice, job.Args.InvoiceID).Error; err != nil {
		return err
	}
	return s.db.WithContext(ctx).Model(&invoice).Update("sent", true).Error
}
