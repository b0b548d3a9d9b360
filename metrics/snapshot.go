package metrics

import (
	"context"

	"github.com/tenantry/tenantry/catalog"
	"github.com/tenantry/tenantry/plugin"
)

// snapshot is what the sources said at one moment, so that the metrics of one
// scrape fit together. What has no source is zero.
type snapshot struct {
	plugin  plugin.Stats
	servers []server // all in one, or each; empty without pools
	places  []place
	catalog catalog.Stats
	fleet   fleetStats
}

// look asks the sources. It waits for none but the migrator, and not long.
func (c *config) look(ctx context.Context) *snapshot {
	s := &snapshot{}
	if c.fleet != nil {
		s.fleet = c.fleet.look(ctx)
	}
	if c.catalog != nil {
		s.catalog = c.catalog.Stats()
	}
	if c.plugin == nil {
		return s
	}
	s.plugin = c.plugin.Stats()
	s.servers = each(s.plugin.Servers)
	if !c.servers {
		s.servers = together(s.servers)
	}
	if c.places {
		s.places = placesOf(s.plugin.Servers)
	}
	return s
}
