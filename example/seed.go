package main

import (
	"context"

	"gorm.io/gorm"

	"github.com/tenantry/tenantry/scope"
)

// customers returns who signs up in the demonstration.
func customers() []newCustomer {
	return []newCustomer{
		{"Acme Corp", "Wile E. Coyote", "wile@acme.example", "acme", planShared},
		{"Globex", "Hank Scorpio", "hank@globex.example", "globex", planOwn},
	}
}

// seed gives a customer that has no invoices its first ones.
func seed(ctx context.Context, db *gorm.DB, t scope.Tenant, p *progress) error {
	err := db.WithContext(scope.With(ctx, t)).Transaction(func(tx *gorm.DB) error {
		there, err := summarize(tx)
		if err != nil || there.Invoices > 0 {
			return err
		}
		first := firstInvoices(t.String())
		for _, in := range first {
			if _, err := create(tx, in); err != nil {
				return err
			}
		}
		p.print("  %-6s  %d invoices added to begin with\n", t, len(first))
		return nil
	})
	if err != nil {
		return &scope.TenantError{Op: "add the first invoices", Tenant: t, Err: err}
	}
	return nil
}

func firstInvoices(tenant string) []newInvoice {
	if tenant == "acme" {
		return []newInvoice{
			{Company: "Coyote Enterprises", Lines: []newLine{{"Rocket skates", 2, 129_00}, {"Anvil, 100 kg", 1, 349_50}}},
			{Company: "Road Runner Ltd", Lines: []newLine{{"Bird seed, 5 kg", 12, 8_25}}},
			{Company: "Coyote Enterprises", Lines: []newLine{{"Painted tunnel", 1, 75_00}}},
		}
	}
	return []newInvoice{
		{Company: "Springfield Power", Lines: []newLine{{"Doomsday device, deposit", 1, 250_000_00}}},
		{Company: "Hammock Hut", Lines: []newLine{{"Hammock, two seats", 4, 59_90}}},
	}
}
