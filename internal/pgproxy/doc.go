// Package pgproxy counts what a test sends to PostgreSQL, and makes the way there
// longer. It is a TCP proxy between client and server, so that nothing above the
// socket can hide from it.
//
//	proxy := pgproxy.Start(t, pgtest.DSN(t))
//	conn, err := pgx.Connect(ctx, proxy.DSN(pgtest.DSN(t)))
//	...
//	before := proxy.RoundTrips()
//	_, err = conn.Exec(ctx, "select 1")
//	fmt.Println(proxy.RoundTrips() - before) // 1
package pgproxy
