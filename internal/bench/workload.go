package main

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"gorm.io/gorm"
)

// session is what a unit of work gets: GORM under one tenant.
type session struct {
	db     *gorm.DB
	schema string // in front of each name of a table; "" where the tenant is set otherwise
	marker string // of the rows that it may see
	draw   *rand.Rand
}

// of returns a session on a table.
func (s session) of(table string) *gorm.DB {
	if s.schema == "" {
		return s.db
	}
	return s.db.Table(s.schema + "." + table)
}

// join writes the name of a table in a JOIN.
func (s session) join(table string) string {
	if s.schema == "" {
		return table
	}
	return s.schema + "." + table
}

// mine is an error unless a row is the tenant's.
func (s session) mine(marker string) error {
	if marker != s.marker {
		return &wrongRowError{got: marker, want: s.marker}
	}
	return nil
}

// wrongRowError says that a pattern has shown one tenant what is another's. It ends the run.
type wrongRowError struct{ got, want string }

func (e *wrongRowError) Error() string {
	return fmt.Sprintf("bench: got a %q where only a %q may be seen", e.got, e.want)
}

// workload is one kind of unit of work.
type workload struct {
	name, title string
	zipf        bool // tenants are drawn by Zipf's law; otherwise each unit has the next one
	run         func(session) (statements int, err error)
}

// workloads returns all of them.
func workloads() []workload {
	return []workload{
		{name: "read", title: "a row by its primary key", run: read},
		{name: "list", title: "a list of 20 rows", run: list},
		{name: "joins", title: "three joins", run: joins},
		{name: "insert", title: "an insert in GORM's own transaction", run: insert},
		{name: "tx", title: "a transaction of five statements", run: transaction},
		{name: "mix", title: "half reads, a quarter lists, a tenth joins, a tenth inserts, one of twenty a transaction; tenants by Zipf's law", zipf: true, run: mix},
	}
}

func read(s session) (int, error) {
	var got Invoice
	id := 1 + s.draw.Int64N(invoices)
	if err := s.of("invoices").Take(&got, id).Error; err != nil {
		return 0, err
	}
	if got.ID != id {
		return 0, fmt.Errorf("bench: got invoice %d, want %d", got.ID, id)
	}
	return 1, s.mine(got.Marker)
}

func list(s session) (int, error) {
	const page = 20
	var got []Invoice
	if err := s.of("invoices").Order("id").Limit(page).Find(&got).Error; err != nil {
		return 0, err
	}
	if len(got) != page {
		return 0, fmt.Errorf("bench: got %d invoices, want %d", len(got), page)
	}
	for _, invoice := range got {
		if err := s.mine(invoice.Marker); err != nil {
			return 0, err
		}
	}
	return 1, nil
}

func joins(s session) (int, error) {
	var got []struct{ Marker, Title, Customer, Product string }
	err := s.of("items").Model(&Item{}).
		Select("items.marker || invoices.marker || customers.marker || products.marker as marker, invoices.title, customers.name as customer, products.name as product").
		Joins("join "+s.join("invoices")+" on invoices.id = items.invoice_id").
		Joins("join "+s.join("customers")+" on customers.id = invoices.customer_id").
		Joins("join "+s.join("products")+" on products.id = items.product_id").
		Where("items.invoice_id = ?", 1+s.draw.Int64N(invoices)).Find(&got).Error
	if err != nil {
		return 0, err
	}
	if len(got) != items/invoices {
		return 0, fmt.Errorf("bench: got %d items, want %d", len(got), items/invoices)
	}
	for _, item := range got {
		if item.Marker != strings.Repeat(s.marker, 4) {
			return 0, &wrongRowError{got: item.Marker, want: strings.Repeat(s.marker, 4)}
		}
	}
	return 1, nil
}

func insert(s session) (int, error) {
	row := Invoice{CustomerID: 1, Title: "new", Cents: 1}
	if err := s.of("invoices").Create(&row).Error; err != nil {
		return 0, err
	}
	return 1, s.mine(row.Marker)
}

// transaction changes only what it has made itself, so that no unit waits for another
// one's lock.
func transaction(s session) (int, error) {
	err := s.db.Transaction(func(tx *gorm.DB) error {
		s.db = tx
		return fiveStatements(s)
	})
	return 5, err
}

func fiveStatements(s session) error {
	var customer Customer
	if err := s.of("customers").Take(&customer, 1+s.draw.Int64N(customers)).Error; err != nil {
		return err
	}
	invoice := Invoice{CustomerID: customer.ID, Title: "new"}
	if err := s.of("invoices").Create(&invoice).Error; err != nil {
		return err
	}
	item := Item{InvoiceID: invoice.ID, ProductID: 1, Quantity: 1}
	if err := s.of("items").Create(&item).Error; err != nil {
		return err
	}
	if err := s.of("invoices").Model(&invoice).Update("cents", 100).Error; err != nil {
		return err
	}
	var got Invoice
	if err := s.of("invoices").Take(&got, invoice.ID).Error; err != nil {
		return err
	}
	if got.Cents != 100 {
		return fmt.Errorf("bench: got an invoice of %d cents, want 100", got.Cents)
	}
	return s.mine(customer.Marker + strings.TrimPrefix(invoice.Marker, s.marker) + strings.TrimPrefix(item.Marker, s.marker) + strings.TrimPrefix(got.Marker, s.marker))
}

func mix(s session) (int, error) {
	switch p := s.draw.IntN(100); {
	case p < 50:
		return read(s)
	case p < 75:
		return list(s)
	case p < 85:
		return joins(s)
	case p < 95:
		return insert(s)
	default:
		return transaction(s)
	}
}
