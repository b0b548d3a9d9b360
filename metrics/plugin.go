package metrics

import "github.com/tenantry/tenantry/plugin"

// pluginFamilies are the metrics of what the plugin has sent.
func pluginFamilies() []family {
	row := func(name, unit, help string, value func(plugin.Stats) uint64) family {
		return family{name: name, unit: unit, kind: counter, help: help, read: func(s *snapshot, r report) { r(float64(value(s.plugin))) }}
	}
	return []family{
		row("tenantry.statements", "{statement}", "Statements sent to PostgreSQL.", func(s plugin.Stats) uint64 { return s.Statements }),
		row("tenantry.transactions", "{transaction}", "Transactions begun.", func(s plugin.Stats) uint64 { return s.Transactions }),
		row("tenantry.errors", "{error}", "Statements and transactions that failed, also those that got no connection.", func(s plugin.Stats) uint64 { return s.Errors }),
		{
			name: "tenantry.refusals", unit: "{refusal}", kind: counter, labels: []string{"reason"},
			help: "Statements and transactions refused before they were sent: their context had no_scope, or their transaction was an other_tenant's.",
			read: func(s *snapshot, r report) {
				r(float64(s.plugin.Refused), "no_scope")
				r(float64(s.plugin.Mismatched), "other_tenant")
			},
		},
	}
}

// baseFamilies are the metrics of the pool of the database that GORM was opened on.
// pgxpool counts connections when it begins to open them.
func baseFamilies() []family {
	row := func(name, unit string, k kind, help string, value func(*plugin.BaseStats) float64) family {
		return family{name: "tenantry.base_pool." + name, unit: unit, kind: k, help: help, read: func(s *snapshot, r report) {
			if s.plugin.Base != nil {
				r(value(s.plugin.Base))
			}
		}}
	}
	return []family{
		{
			name: "tenantry.base_pool.connections", unit: "{connection}", kind: sum, labels: []string{"state"},
			help: "Connections of the base pool: idle, used, or opening.",
			read: func(s *snapshot, r report) {
				if base := s.plugin.Base; base != nil {
					r(float64(base.IdleConns()), "idle")
					r(float64(base.AcquiredConns()), "used")
					r(float64(base.ConstructingConns()), "opening")
				}
			},
		},
		row("max_connections", "{connection}", sum, "Connections that the base pool may have.",
			func(s *plugin.BaseStats) float64 { return float64(s.MaxConns()) }),
		row("acquires", "{acquire}", counter, "Connections taken from the base pool.",
			func(s *plugin.BaseStats) float64 { return float64(s.AcquireCount()) }),
		row("waits", "{acquire}", counter, "Connections taken from the base pool after a wait, because none was idle.",
			func(s *plugin.BaseStats) float64 { return float64(s.EmptyAcquireCount()) }),
		row("wait_time", seconds, counter, "Time waited for connections of the base pool.",
			func(s *plugin.BaseStats) float64 { return s.EmptyAcquireWaitTime().Seconds() }),
		row("cancels", "{acquire}", counter, "Waits for a connection of the base pool that the context has ended.",
			func(s *plugin.BaseStats) float64 { return float64(s.CanceledAcquireCount()) }),
		row("dials", "{connection}", counter, "Connections of the base pool that were tried to open.",
			func(s *plugin.BaseStats) float64 { return float64(s.NewConnsCount()) }),
	}
}
