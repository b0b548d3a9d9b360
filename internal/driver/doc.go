// Package driver is a database/sql driver that sends every statement to the
// place of the tenant on the statement's own context.
//
// A conn is an empty shell. The first statement on it reads the scope from its
// context, asks the [Locator] for a [Target] and takes a real pgx connection
// from the target's pool: a lease. database/sql calls IsValid whenever a
// connection goes back to its pool, and there the lease ends. So a pooled
// connection never carries a tenant, however database/sql hands it out.
//
// Outside a transaction every statement travels behind a prefix that sets the
// target's settings for this one statement (package wire). A transaction sets
// them with its BEGIN.
//
// conn.go, stmt.go, tx.go and connector.go implement the interfaces of database/sql/driver. They make a
// statement of what they are called with (statement.go), which takes one way:
//
//	QueryContext, ExecContext ──> do ──> exchange ──> pgx
//	                              │ ^
//	                      reason  v │  prepareRetry
//	                             limits
//
// do (send.go) encodes the arguments, has exchange send one message and read what package wire has seen of
// the reply, and asks the table of reasons and phases (retry.go) whether the statement goes once more.
package driver
