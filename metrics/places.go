package metrics

import "github.com/tenantry/tenantry/plugin"

// place is the pool of one database and user.
type place struct {
	server string
	plugin.PlaceStats
}

// placeFamilies are the metrics of each place. All of them go up and down: a
// pool's counts begin anew when it is opened again, and counters that do so would
// be wrong where OpenTelemetry exports differences.
func placeFamilies() []family {
	row := func(name, unit, help string, value func(plugin.PlaceStats) float64) family {
		return family{
			name: "tenantry.place." + name, unit: unit, kind: sum, labels: []string{"server", "database", "user"}, help: help,
			read: func(s *snapshot, r report) {
				for _, p := range s.places {
					r(value(p.PlaceStats), p.server, p.Database, p.User)
				}
			},
		}
	}
	return []family{
		row("connections", "{connection}", "Connections of a place, also those being opened or closed.",
			func(p plugin.PlaceStats) float64 { return float64(p.Open) }),
		row("leases", "{lease}", "Connections of a place that are in use.",
			func(p plugin.PlaceStats) float64 { return float64(p.InUse) }),
		row("waiting", "{request}", "Requests that wait now for a connection of a place.",
			func(p plugin.PlaceStats) float64 { return float64(p.Waiting) }),
		row("waits", "{request}", "Requests that had to wait for a connection of a place, since its pool was opened.",
			func(p plugin.PlaceStats) float64 { return float64(p.Waits) }),
		row("evictions", "{eviction}", "Times that a place lost a connection to another, since its pool was opened.",
			func(p plugin.PlaceStats) float64 { return float64(p.Evictions) }),
		row("dials", "{connection}", "Connections of a place that were tried to open, since its pool was opened.",
			func(p plugin.PlaceStats) float64 { return float64(p.Dials) }),
		row("dial_failures", "{failure}", "Times in a row that the pool of a place could not be opened.",
			func(p plugin.PlaceStats) float64 { return float64(p.DialFailures) }),
	}
}

// placesOf returns the places of all servers. Where credentials have changed, the
// pool with the old ones is listed beside the new one until its last statement has
// ended: they are one place here, because two series of one name are an error.
func placesOf(servers []plugin.ServerStats) (all []place) {
	type key struct{ server, database, user string }
	seen := map[key]int{}
	for _, s := range servers {
		for _, p := range s.Places {
			k := key{valid(s.Server), valid(p.Database), valid(p.User)}
			if i, ok := seen[k]; ok {
				all[i].add(p)
				continue
			}
			seen[k] = len(all)
			all = append(all, place{s.Server, p})
		}
	}
	return all
}

func (p *place) add(o plugin.PlaceStats) {
	p.Open += o.Open
	p.InUse += o.InUse
	p.Waiting += o.Waiting
	p.Waits += o.Waits
	p.Evictions += o.Evictions
	p.Dials += o.Dials
	p.DialFailures += o.DialFailures
}
