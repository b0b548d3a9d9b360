// Command bench compares ways to serve many tenants from one PostgreSQL server, with
// plain GORM on one schema as the limit of each.
//
//	go -C internal/bench run .          # everything; some 20 minutes
//	go -C internal/bench run . -short   # a look; less than a minute
//	go -C internal/bench run . -memory  # memory of the server's backends over a long run
//	go -C internal/bench run . -greedy  # what one greedy tenant costs the others of a pool
//
// It starts a private server (see pgserver), makes the tenants, and measures in rounds: in
// each round every pattern runs for a short slice, and each ratio is taken to plain GORM
// in the same round, so that whatever else the machine does hits all of them alike. Each
// unit of work checks that what it read is its tenant's. Cold reads, the first ones of a
// tenant on a connection, are measured by themselves; cold.go says how.
//
// It is a module of its own, so that what it needs is not needed by users of the library.
package main
