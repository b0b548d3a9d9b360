// Package sqltext reads SQL texts without a database: what the statements of a text do to
// their transaction and their session, and which temporary tables they create.
//
//	t := sqltext.Scan("update invoices set paid = true; commit")
//	// t.Commands is 2, t.Control is true
//
// It splits a text into words with PostgreSQL's lexical rules and does not parse further. What functions do,
// and the code of DO, stays hidden from it. All functions are safe for concurrent use.
package sqltext
