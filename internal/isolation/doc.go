// Package isolation is the test that decides whether tenants are kept apart:
// many goroutines work for many tenants over few, short-lived connections,
// while transactions fail and panic, contexts end and backends are killed.
// Every row carries its tenant, so that a wrong one is seen wherever it shows.
//
// A tenant's place is a schema of any database on any server. The test runs
// against any *gorm.DB, also against ones that are known to leak: a test that
// can't fail proves nothing.
package isolation
