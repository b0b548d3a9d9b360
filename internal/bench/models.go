package main

import "time"

// The models say nothing of tenants. A marker comes from the table (see ownTables), and
// GORM reads it back from an INSERT as it does an id.
type (
	// Customer of a tenant.
	Customer struct {
		ID     int64
		Marker string `gorm:"default:(-)"`
		Name   string
	}

	// Product of a tenant.
	Product struct {
		ID     int64
		Marker string `gorm:"default:(-)"`
		Name   string
		Cents  int64
	}

	// Invoice to a customer.
	Invoice struct {
		ID         int64
		Marker     string `gorm:"default:(-)"`
		CustomerID int64
		Title      string
		Cents      int64
		CreatedAt  time.Time
	}

	// Item of an invoice.
	Item struct {
		ID        int64
		Marker    string `gorm:"default:(-)"`
		InvoiceID int64
		ProductID int64
		Quantity  int64
	}
)
