package metrics

// catalogFamilies are the metrics of the catalog's memory.
func catalogFamilies() []family {
	return []family{
		{
			name: "tenantry.catalog.lookups", unit: "{lookup}", kind: counter, labels: []string{"result"},
			help: "Lookups of tenants: hit, answered from memory; unknown, a name that nobody has, answered from memory; miss, asked the master database.",
			read: func(s *snapshot, r report) {
				r(float64(s.catalog.Hits), "hit")
				r(float64(s.catalog.Unknown), "unknown")
				r(float64(s.catalog.Misses), "miss")
			},
		},
		{
			name: "tenantry.catalog.names", unit: "{name}", kind: sum,
			help: "Names of tenants in memory: ids and hosts.",
			read: func(s *snapshot, r report) { r(float64(s.catalog.Known)) },
		},
		{
			name: "tenantry.catalog.listening", kind: gauge,
			help: "1 if changes by other processes are seen at once, 0 if only when what is in memory has expired.",
			read: func(s *snapshot, r report) { r(oneIf(s.catalog.Listening)) },
		},
	}
}

func oneIf(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
