package metrics

import "github.com/tenantry/tenantry/migrator"

// fleetFamilies are the metrics of where the tenants are, by the migrator.
func fleetFamilies() []family {
	return []family{
		{
			name: "tenantry.migrator.tenants", unit: "{tenant}", kind: gauge, labels: []string{"state"},
			help: "Tenants by the state of their migrations, of the whole fleet: every process shows the same.",
			read: func(s *snapshot, r report) {
				if s.fleet.read.IsZero() {
					return
				}
				for _, state := range []migrator.State{migrator.Pending, migrator.Running, migrator.Current, migrator.Failed} {
					r(float64(s.fleet.tenants[state]), string(state))
				}
			},
		},
		{
			name: "tenantry.migrator.status.timestamp", unit: seconds, kind: gauge,
			help: "When the tenants were counted last, in seconds since 1970.",
			read: func(s *snapshot, r report) {
				if !s.fleet.read.IsZero() {
					r(float64(s.fleet.read.UnixMilli()) / 1000)
				}
			},
		},
		{
			name: "tenantry.migrator.status.errors", unit: "{error}", kind: counter,
			help: "Times that the tenants could not be counted.",
			read: func(s *snapshot, r report) { r(float64(s.fleet.errors)) },
		},
	}
}
