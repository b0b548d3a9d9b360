package main

import (
	"fmt"
	"net/http"
	"strings"
)

// Limits of an invoice.
const (
	maxLines    = 100
	maxQuantity = 1000
	maxPrice    = 1_000_000_00 // cents
)

// newInvoice is the body of a request that creates an invoice.
type newInvoice struct {
	Company string    `json:"company"`
	Lines   []newLine `json:"lines"`
}

type newLine struct {
	Text     string `json:"text"`
	Quantity int64  `json:"quantity"`
	Price    Cents  `json:"price_cents"`
}

// readInvoice returns the invoice in the body of r, or a *requestError.
func readInvoice(w http.ResponseWriter, r *http.Request) (newInvoice, error) {
	var in newInvoice
	if err := readJSON(w, r, "an invoice", &in); err != nil {
		return in, err
	}
	in.trim()
	return in, in.problems().err()
}

func (in *newInvoice) trim() {
	in.Company = strings.TrimSpace(in.Company)
	for i := range in.Lines {
		in.Lines[i].Text = strings.TrimSpace(in.Lines[i].Text)
	}
}

// problems returns what is wrong with the values.
func (in *newInvoice) problems() problems {
	var list problems
	list.add("company", isText(in.Company), textRule, maxText)
	list.add("lines", len(in.Lines) >= 1 && len(in.Lines) <= maxLines, "1 to %d are needed", maxLines)
	for i, l := range in.Lines[:min(len(in.Lines), maxLines)] {
		line := fmt.Sprintf("lines[%d].", i)
		list.add(line+"text", isText(l.Text), textRule, maxText)
		list.add(line+"quantity", l.Quantity >= 1 && l.Quantity <= maxQuantity, "1 to %d is needed", maxQuantity)
		list.add(line+"price_cents", l.Price >= 1 && l.Price <= maxPrice, "1 to %d is needed", maxPrice)
	}
	return list
}
