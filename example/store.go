package main

import (
	"gorm.io/gorm"
	"gorm.io/gorm/clause"
)

// newest is how many invoices a list has at most.
const newest = 100

// load returns db for invoices with all that belongs to them.
func load(db *gorm.DB) *gorm.DB {
	return db.Preload("Company").Preload("Lines", func(db *gorm.DB) *gorm.DB { return db.Order("id") })
}

// latest returns the newest invoices.
func latest(db *gorm.DB) (invoices []Invoice, err error) {
	return invoices, load(db).Order("id desc").Limit(newest).Find(&invoices).Error
}

// create writes an invoice, and the company if it is a new one.
func create(tx *gorm.DB, in newInvoice) (Invoice, error) {
	company, err := companyOf(tx, in)
	if err != nil {
		return Invoice{}, err
	}
	invoice := Invoice{CompanyID: company.ID, Lines: in.lines()}
	if err := tx.Create(&invoice).Error; err != nil {
		return Invoice{}, err
	}
	invoice.Company = company
	return invoice, nil
}

// change writes what in says in the place of an invoice.
func change(tx *gorm.DB, invoice Invoice, in newInvoice) (Invoice, error) {
	company, err := companyOf(tx, in)
	if err != nil {
		return invoice, err
	}
	if err := tx.Model(&Invoice{ID: invoice.ID}).Update("company_id", company.ID).Error; err != nil {
		return invoice, err
	}
	if err := tx.Delete(&Line{}, "invoice_id = ?", invoice.ID).Error; err != nil {
		return invoice, err
	}
	invoice.CompanyID, invoice.Company, invoice.Lines = company.ID, company, in.lines()
	for i := range invoice.Lines {
		invoice.Lines[i].InvoiceID = invoice.ID
	}
	return invoice, tx.Create(&invoice.Lines).Error
}

// companyOf returns the company of that name, and makes it if there is none.
func companyOf(tx *gorm.DB, in newInvoice) (Company, error) {
	company := Company{Name: in.Company}
	// The update changes nothing, but gives the id of a company that exists.
	upsert := clause.OnConflict{
		Columns:   []clause.Column{{Name: "name"}},
		DoUpdates: clause.AssignmentColumns([]string{"name"}),
	}
	return company, tx.Clauses(upsert).Create(&company).Error
}

func (in *newInvoice) lines() (lines []Line) {
	for _, l := range in.Lines {
		lines = append(lines, Line{Text: l.Text, Quantity: l.Quantity, Price: l.Price})
	}
	return lines
}

// summary is all of a customer's invoices in two numbers.
type summary struct {
	Invoices int64
	Total    Cents
}

func summarize(db *gorm.DB) (summary, error) {
	var s summary
	if err := db.Model(&Invoice{}).Count(&s.Invoices).Error; err != nil {
		return s, err
	}
	return s, db.Model(&Line{}).Select("coalesce(sum(quantity * price), 0)::bigint").Scan(&s.Total).Error
}
