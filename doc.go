// Package tenantry is the front page of a set of packages that make GORM on
// PostgreSQL multi-tenant: each customer has a schema or a database of its own, and
// application code stays ordinary GORM.
//
//   - scope puts the tenant on a context.
//   - plugin sends every statement to the tenant of its context.
//   - ginmw and httpmw put the tenant of a request on the request's context.
//   - catalog knows who the tenants are and where they live, and signs them up.
//   - migrator brings every tenant to the same version.
//
// There is nothing to import here: see those packages, the README, and docs/.
package tenantry
