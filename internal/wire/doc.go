// Package wire puts statements in front of other statements, inside the same
// message group of PostgreSQL's extended query protocol, without the client
// above noticing.
//
// Between two Sync messages, outside a transaction block, the server runs all
// statements as one implicit transaction ("Extended Query", section "Message
// Flow" of the PostgreSQL manual). So a set_config(…, true) that stands in
// front of a statement holds for that statement and for nothing after it, and
// it costs no round trip because both travel in one write.
//
// A [Filter] sits between pgx's frontend and the connection. It is armed for
// one group: it writes the [Prefix] in front of the group and drops the
// prefix's replies from what the frontend reads. Not armed, it passes bytes on.
package wire
