// Package fairpool shares one pgxpool among many tenants: it decides which connection a request
// gets, and who waits.
//
//	pool, err := fairpool.Open[string](ctx, cfg)
//	...
//	defer pool.Close()
//	c, err := pool.Acquire(ctx, "acme")
//	...
//	defer c.Release()
//
// Connections are opened, pinged and closed by pgxpool, with its limits and hooks. Between two
// requests a connection is kept for up to a second in a list of this package, the hot list, so that
// a request can choose among the idle connections: a server process that has served a tenant has
// read the tenant's tables, and holds that memory until it ends.
//
// # A connection
//
//	            opened          acquired                  released, no request waits
//	(pgxpool) ----------> idle ----------> in use ---------------------------------> hot idle
//	                       ^  ^             |  ^ |                                    |    |
//	                       |  |             |  | | released to a waiting request      |    |
//	                       |  |             |  | +--------> in use                    |    |
//	                       |  |             |  |                                      |    |
//	                       |  |             |  +----------- chosen by a request ------+    |
//	                       |  |             |                                              |
//	                       |  +-------------+ hooks, a request asks pgxpool                |
//	                       |                |                                              |
//	                       +----------------|--- unused for a second, or Close ------------+
//	                                        |
//	                                        +---> closed: has served too many tenants, is too
//	                                              old, is broken or in a transaction
//
// To pgxpool a hot idle connection is in use, so pgxpool opens a new connection whenever it is
// asked for one and has none of its own; [Stat] counts it as idle.
//
// # A request
//
//	Acquire --> is its tenant at its limit? ------------------- yes --> waits in its tenant's line
//	                | no                                                   ^
//	                v                                                      |
//	            a hot idle connection has served the tenant? -- yes --> runs at once, on that one
//	                | no                                                   |
//	                v                                                      |
//	            a hot idle connection may serve one more? ----- yes --> runs at once, on that one
//	                | no                                                   |
//	                v                                                      |
//	            fewer connections than the maximum? ----------- yes --> runs on one of pgxpool's
//	                | no                                                   |
//	                v                                                      |
//	            a hot idle connection, full of others? -------- yes --> waits 2 ms for a connection
//	                | no                                                that has served the tenant, if
//	                |                                                   there is one; then runs on the
//	                |                                                   hot idle one, closed afterwards
//	                +--------------------------------------------> waits in its tenant's line
//
// A connection that is released goes to the next request in turn. The turn goes round the tenants
// that have waiting requests, with one request of each; within a tenant the oldest request is first.
// So one tenant's requests, however many, delay another tenant's by one turn at most.
//
// A tenant holds at most three quarters of the connections. When a connection becomes free, tenants
// that hold less than half of the connections come first. See [WithShares].
//
// No lock is held while something is sent or awaited. The one timer of a pool, which gives
// connections back to pgxpool, ends with Close.
package fairpool
