// Package pgserver finds or starts a PostgreSQL server for tests and for the
// example.
//
//	server, err := pgserver.Start(ctx)
//	if err != nil {
//		return err // says what to install or to set
//	}
//	defer server.Stop()
//	db, err := gorm.Open(postgres.Open(server.DSN()))
//
// The first of these that is there is taken:
//
//  1. the running server that TENANTRY_TEST_DSN names, used as it is
//  2. the programs in the directory TENANTRY_PG_BIN
//  3. initdb and postgres on PATH, or where systems install them
//  4. a download (github.com/fergusstrange/embedded-postgres), kept for the next time
//
// A server that is started (2 to 4) has its own data directory and port, listens
// on 127.0.0.1 only, has a random password and gives up durability for speed.
// It ends, and its directory goes, when [Server.Stop] is called or when the
// process that called [Start] ends in whatever way.
package pgserver
