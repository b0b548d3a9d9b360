package plugin

import "github.com/tenantry/tenantry/internal/fairpool"

// Stats is what a plugin has counted since it was made.
type Stats struct {
	Statements   uint64 // statements sent to the server
	Transactions uint64 // transactions begun
	Refused      uint64 // statements and transactions refused because the context had no scope
	Mismatched   uint64 // statements refused because the transaction was another tenant's
	Errors       uint64 // statements and transactions that failed otherwise

	// Base is the state of the base pool, or nil before db.Use.
	Base *BaseStats

	// Servers is the state of the strategy's own pools, by server, or nil if it
	// has none: see [Strategy].
	Servers []ServerStats
}

// BaseStats is the state of the base pool: what pgxpool's Stat says, and WaitingRequests. A
// connection that the plugin keeps ready for the next statement is idle, although pgxpool has lent
// it.
type BaseStats = fairpool.Stat

// Stats returns the counts so far. It is safe for concurrent use.
func (p *Plugin) Stats() Stats {
	s := Stats{
		Statements:   p.counters.Statements.Load(),
		Transactions: p.counters.Transactions.Load(),
		Refused:      p.counters.Refused.Load(),
		Mismatched:   p.counters.Mismatched.Load(),
		Errors:       p.counters.Errors.Load(),
	}
	if counting, ok := p.strategy.(interface{ PoolStats() []ServerStats }); ok {
		s.Servers = counting.PoolStats()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.base != nil {
		s.Base = p.base.Stat()
	}
	return s
}
