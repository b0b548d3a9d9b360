package plugin

import (
	"cmp"
	"slices"
	"strings"
)

// ServerStats says how the pools of one server are doing. The counts are since
// the pools were made.
type ServerStats struct {
	Server  string // host:port, or several with commas in between
	Open    int    // connections, also those that are being opened or closed
	InUse   int    // leases
	Waiting int    // requests that wait now, for a connection of the budget or to be connected

	Waits        uint64 // requests that had to wait for a connection of the budget
	Evictions    uint64 // times that a place lost connections to another
	Dials        uint64 // connections that were tried to open
	DialFailures uint64 // pools that could not be opened

	// Places are the pools that are open, and those that could not be opened in
	// the last seconds, by database and user. What was counted for the others is
	// forgotten: there may be very many.
	Places []PlaceStats
}

// PlaceStats says how the pool of one database and user is doing. The counts are
// since it was opened.
type PlaceStats struct {
	Database, User string

	Open    int // connections, also those that are being opened or closed
	InUse   int // leases
	Waiting int // requests that wait now

	Waits        uint64 // requests that had to wait for a connection
	Evictions    uint64 // times that it lost a connection to another place
	Dials        uint64 // connections that were tried to open
	DialFailures uint64 // times in a row that it could not be opened
}

// Stats returns the state of every server that was ever used, by name.
func (p *Pools) Stats() []ServerStats {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make([]ServerStats, 0, len(p.servers))
	for _, s := range p.servers {
		all = append(all, s.stats())
	}
	slices.SortFunc(all, func(a, b ServerStats) int { return strings.Compare(a.Server, b.Server) })
	p.addFailures(all)
	for _, s := range all {
		slices.SortFunc(s.Places, comparePlaces)
	}
	return all
}

func comparePlaces(a, b PlaceStats) int {
	return cmp.Or(strings.Compare(a.Database, b.Database), strings.Compare(a.User, b.User))
}

func (s *server) stats() ServerStats {
	st := ServerStats{Server: s.address, Waits: s.waits, Evictions: s.evictions, Dials: s.dials, DialFailures: s.dialFailures}
	for e := range s.entries {
		place := e.stats()
		st.Open += place.Open
		st.InUse += place.InUse
		st.Waiting += place.Waiting
		st.Dials += place.Dials
		st.Places = append(st.Places, place)
	}
	return st
}

func (e *entry) stats() PlaceStats {
	st := PlaceStats{
		Database: e.place.database, User: e.place.user,
		Open: e.slots, InUse: e.leases, Waiting: e.queue.Len(),
		Waits: e.waits, Evictions: e.evictions, Dials: e.dials.Load(),
	}
	if e.state == open {
		st.Open = int(e.pool.Stat().TotalConns())
	}
	return st
}

// addFailures adds the places that could not be opened to the sorted servers.
func (p *Pools) addFailures(servers []ServerStats) {
	for _, f := range p.failures {
		i, ok := slices.BinarySearchFunc(servers, f.place.server, func(s ServerStats, name string) int { return strings.Compare(s.Server, name) })
		if ok {
			servers[i].addFailure(f)
		}
	}
}

func (s *ServerStats) addFailure(f *failure) {
	for i := range s.Places {
		if p := &s.Places[i]; p.Database == f.place.database && p.User == f.place.user {
			p.DialFailures += f.count
			return
		}
	}
	s.Places = append(s.Places, PlaceStats{Database: f.place.database, User: f.place.user, DialFailures: f.count})
}
