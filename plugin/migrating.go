package plugin

import (
	"context"

	"github.com/tenantry/tenantry/internal/driver"
)

// Migrating reports whether ctx is the migrator's, about to begin the transaction
// in which it changes a tenant's tables. A [Strategy] whose tenants have roles of
// their own places such a transaction without the role: a tenant's role has no
// right to change tables, and does not own them.
func Migrating(ctx context.Context) bool { return driver.HasPreamble(ctx) }
