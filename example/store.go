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

// create stores an invoice, and its company if it is new. tx is a transaction.
func create(tx *gorm.DB, in newInvoice) (Invoice, error) {
	company := Company{Name: in.Company}
	// The update changes nothing, but gives the id of a company that exists.
	upsert := clause.OnConflict{
		Columns:   []clause.Column{{Name: "name"}},
		DoUpdates: clause.AssignmentColumns([]string{"name"}),
	}
	if err := tx.Clauses(upsert).Create(&company).Error; err != nil {
		return Invoice{}, err
	}
	invoice := Invoice{CompanyID: company.ID}
	for _, l := range in.Lines {
		invoice.Lines = append(invoice.Lines, Line{Text: l.Text, Quantity: l.Quantity, Price: l.Price})
	}
	if err := tx.Create(&invoice).Error; err != nil {
		return Invoice{}, err
	}
	invoice.Company = company
	return invoice, nil
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
