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
//	          +--------------+   acquired   +--------+   released, nobody waits   +----------+
//	opened -->| pgxpool idle |------------->| in use |--------------------------->| hot idle |
//	          |              |<-------------|        |<---------------------------|          |
//	          +--------------+   released   +--------+    chosen by a request     +----------+
//	              |      ^       (1)          |  | ^                                 |
//	              |      |                    |  +-+ released to the next in turn    |
//	              |      +--------------------|--------------------------------------+
//	              | idle or alive             |        unused for a second, or Close
//	              | for too long              |
//	              v                           v
//	            closed                      closed (2)
//
//	(1) the pool has hooks, or a request asks pgxpool for a connection at that time
//	(2) it has served more tenants than it may, is too old, broken or in a transaction
//
// To pgxpool a hot idle connection is in use, so pgxpool opens a new connection whenever it is
// asked for one and has none of its own; [Stat] counts it as idle. A Reset of the pgxpool reaches a
// connection when it is given back to pgxpool.
//
// # A request
//
//	                                                     yes
//	tenant has its share of the connections?            ----> waits in its tenant's line
//	  | no
//	a hot idle connection has served the tenant?        ----> runs at once, on that one
//	  | no
//	a hot idle one may serve one more tenant? (3)       ----> runs at once, on that one
//	  | no
//	fewer connections than the maximum?                 ----> asks pgxpool, which may open one
//	  | no
//	all hot idle ones are full, and one in use
//	has served the tenant?                              ----> waits in line for that one, 2 ms at most
//	  | no, or 2 ms are over
//	a hot idle connection is full?                      ----> runs at once; it is closed afterwards
//	  | no
//	waits in its tenant's line  ----> is given a connection that was released, or may ask pgxpool
//
//	(3) if each has served a quarter of what it may, pgxpool is asked while there are fewer than the maximum
//
// A connection that is released goes to the next request in turn. The turn goes round the tenants
// that have waiting requests, with one request of each; within a tenant the oldest request is first.
// So one tenant's requests, however many, delay another tenant's request by one turn. A tenant that the
// connection has not served may be passed over, but not more than twice before it has its turn.
//
// A tenant holds at most three quarters of the connections. When a connection becomes free, tenants
// that hold less than half of the connections come first. See [WithShares].
//
// No lock is held while something is sent or awaited. The one timer of a pool, which gives
// connections back to pgxpool, ends with Close.
package fairpool
