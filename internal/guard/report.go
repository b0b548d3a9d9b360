package guard

import (
	"context"
	"slices"

	"gorm.io/gorm"
)

// HasResolver reports whether dbresolver is registered.
func (g *Guard) HasResolver() bool { return hasResolver(g.db) }

// Replaced returns which callbacks of GORM's were replaced, and by what: statements that
// need them are refused.
func (g *Guard) Replaced() []string {
	var found []string
	for _, c := range g.chains {
		if name := c.replaced(g.trusted); name != "" {
			found = append(found, name+" by "+c.by(name))
		}
	}
	return found
}

// Trusted returns the names of the callbacks that [Install] was told to trust.
func (g *Guard) Trusted() []string { return slices.Compact(slices.Sorted(slices.Values(g.trusted))) }

// Try runs GORM's callbacks for a dry run of a query and of a text, and returns an error if
// they choose another pool. It sends nothing.
func (g *Guard) Try(ctx context.Context) error {
	dry := g.db.Session(&gorm.Session{NewDB: true, DryRun: true, Context: ctx})
	for _, done := range []*gorm.DB{dry.Raw("select 1").Scan(new(int)), dry.Exec("select 1")} {
		if err := g.check(done); err != nil {
			return err
		}
	}
	return nil
}
