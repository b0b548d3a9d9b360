// Package scope carries the tenant on a context.
//
//	acme, err := scope.Parse("acme")
//	ctx = scope.With(ctx, acme)
//	db.WithContext(ctx).Find(&invoices) // acme's invoices
//
// A context carries one tenant, or explicitly the shared part ([Shared]), or
// nothing. Nothing is never a default: whoever asks for the tenant of such a
// context gets [ErrNone].
//
// The package imports the standard library only, so that code which knows
// nothing of databases can name tenants.
package scope
