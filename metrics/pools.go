package metrics

import "github.com/tenantry/tenantry/plugin"

// server is what is shown of the pools of one server, or of all of them.
type server struct {
	plugin.ServerStats     // without the places
	places             int // those that have a connection
}

// poolFamilies are the metrics of the strategy's own pools: all servers together,
// or each.
func poolFamilies(byServer bool) []family {
	var labels []string
	if byServer {
		labels = []string{"server"}
	}
	row := func(name, unit string, k kind, help string, value func(server) float64) family {
		return family{name: "tenantry.pools." + name, unit: unit, kind: k, help: help, labels: labels, read: func(s *snapshot, r report) {
			for _, one := range s.servers {
				r(value(one), labelsOf(one, byServer)...)
			}
		}}
	}
	return []family{
		row("connections", "{connection}", sum, "Connections of the pools of databases, also those being opened or closed.",
			func(s server) float64 { return float64(s.Open) }),
		row("leases", "{lease}", sum, "Connections of the pools of databases that are in use.",
			func(s server) float64 { return float64(s.InUse) }),
		row("waiting", "{request}", sum, "Requests that wait now, for a connection of their server's budget or to be connected.",
			func(s server) float64 { return float64(s.Waiting) }),
		row("places", "{place}", sum, "Pools with a connection: one for each database and user.",
			func(s server) float64 { return float64(s.places) }),
		row("waits", "{request}", counter, "Requests that had to wait for a connection of their server's budget.",
			func(s server) float64 { return float64(s.Waits) }),
		row("evictions", "{eviction}", counter, "Times that a place lost connections to another.",
			func(s server) float64 { return float64(s.Evictions) }),
		row("dials", "{connection}", counter, "Connections of the pools of databases that were tried to open.",
			func(s server) float64 { return float64(s.Dials) }),
		row("dial_failures", "{failure}", counter, "Pools of databases that could not be opened.",
			func(s server) float64 { return float64(s.DialFailures) }),
	}
}

func labelsOf(s server, byServer bool) []string {
	if !byServer {
		return nil
	}
	return []string{s.Server}
}

// each returns the servers without their places: there may be very many, and one
// number of them is shown.
func each(servers []plugin.ServerStats) []server {
	if servers == nil {
		return nil
	}
	all := make([]server, len(servers))
	for i, s := range servers {
		all[i] = server{s, connected(s.Places)}
		all[i].Places = nil
	}
	return all
}

func connected(places []plugin.PlaceStats) (n int) {
	for i := range places {
		if places[i].Open > 0 {
			n++
		}
	}
	return n
}

// together adds up the servers: there may be one for each tenant. Pools that have
// seen none yet count, with zeros, so that a rate has somewhere to start.
func together(servers []server) []server {
	if servers == nil {
		return nil
	}
	var all server
	for _, s := range servers {
		all.Open += s.Open
		all.InUse += s.InUse
		all.Waiting += s.Waiting
		all.Waits += s.Waits
		all.Evictions += s.Evictions
		all.Dials += s.Dials
		all.DialFailures += s.DialFailures
		all.places += s.places
	}
	return []server{all}
}
