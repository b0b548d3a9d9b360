// Package pgbouncer starts a PgBouncer in transaction mode for tests.
//
//	bouncer := pgbouncer.Start(t, pgbouncer.Config{Target: pgtest.DSN(t), PoolSize: 1})
//	conn, err := pgx.Connect(ctx, bouncer.DSN(pgtest.DSN(t)))
//
// It is the program that is installed, with its default behaviour: in
// particular it refuses start-up parameters that it does not know, such as
// search_path.
package pgbouncer
