package main

import (
	"encoding/json"
	"fmt"
	"time"
)

// Company is whom a customer of the service sends invoices to.
type Company struct {
	ID   int64  `json:"id"`
	Name string `json:"name"`
}

// Invoice has its lines, and its company.
type Invoice struct {
	ID        int64     `json:"id"`
	CompanyID int64     `json:"-"`
	Company   Company   `json:"company"`
	Lines     []Line    `json:"lines"`
	CreatedAt time.Time `json:"created_at"`
}

// Line is one position of an invoice.
type Line struct {
	ID        int64  `json:"-"`
	InvoiceID int64  `json:"-"`
	Text      string `json:"text"`
	Quantity  int64  `json:"quantity"`
	Price     Cents  `json:"price_cents"` // of one piece
}

// Cents is an amount of money.
type Cents int64

func (c Cents) String() string { return fmt.Sprintf("%d.%02d", c/100, c%100) }

// Total returns the sum of the lines.
func (i Invoice) Total() Cents {
	var sum Cents
	for _, l := range i.Lines {
		sum += Cents(l.Quantity) * l.Price
	}
	return sum
}

// MarshalJSON adds the total.
func (i Invoice) MarshalJSON() ([]byte, error) {
	type fields Invoice // without this method
	return json.Marshal(struct {
		fields
		Total Cents `json:"total_cents"`
	}{fields(i), i.Total()})
}
