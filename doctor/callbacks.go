package doctor

import (
	"context"
	"fmt"
	"strings"

	"github.com/tenantry/tenantry/internal/guard"
)

// callbacks looks at what other GORM plugins have registered on the *gorm.DB. It sends
// nothing.
func (e *exam) callbacks(ctx context.Context) {
	g, ok := guard.Of(e.db)
	if !ok {
		return
	}
	replaced := g.Replaced()
	if len(replaced) > 0 {
		e.find(Finding{
			ID: "replaced-callback", Severity: Problem,
			What: fmt.Sprintf("Another GORM plugin has replaced callbacks of GORM's own: %s.", strings.Join(replaced, ", ")),
			Why:  "Such a callback decides which rows a tenant sees, and a cache by the text of the query shows one tenant's rows to another. Statements that call it are refused.",
			How:  "Take the plugin out. If it keeps tenants apart, as with scope.Key in the keys of a cache, name the callback with plugin.WithTrustedCallback.",
		})
	}
	if names := g.Trusted(); len(names) > 0 {
		e.find(Finding{
			ID: "trusted-callback", Severity: Info,
			What: fmt.Sprintf("Another GORM plugin may replace GORM's own callback %s: plugin.WithTrustedCallback says so.", strings.Join(names, ", ")),
			Why:  "The plugin can't see whether a callback in the place of GORM's own keeps tenants apart.",
			How:  "Look at it once more with each new version: it must fail without a tenant, and have the tenant in its keys, as scope.Key has.",
		})
	}
	switch {
	case g.HasResolver():
		e.find(Finding{
			ID: "foreign-pool", Severity: Problem,
			What: "gorm.io/plugin/dbresolver is registered on the *gorm.DB.",
			Why:  "It chooses pools that know of no tenant. Statements that would go there are refused.",
			How:  "Take it out. For a read replica open a second *gorm.DB on it, with a plugin of its own: docs/strategies.md shows how.",
		})
	case len(replaced) == 0:
		if err := g.Try(ctx); err != nil {
			e.find(Finding{
				ID: "foreign-pool", Severity: Problem,
				What: fmt.Sprintf("A callback chooses another pool than the plugin's: %v.", err),
				Why:  "That pool knows of no tenant. Statements that would go there are refused.",
				How:  "Take out the GORM plugin, or the callback, that sets Statement.ConnPool.",
			})
		}
	}
}
