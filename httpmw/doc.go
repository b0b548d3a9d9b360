// Package httpmw puts the tenant of a request on the request's context. It is
// middleware for net/http, and for every router that takes such middleware.
//
//	tenant, err := httpmw.New(directory, httpmw.Subdomain("myservice.com"))
//	mux.Handle("GET /invoices", tenant(invoices)) // acme.myservice.com/invoices
//
// A [Resolver] reads from the request whom it names, a [Directory] says which
// tenant that is, and the handler finds the tenant with scope.From on the
// request's context. A request without a tenant never reaches the handler:
//
//	400  it names no tenant, a malformed one, or two that differ
//	403  the directory says that the tenant is suspended
//	404  the directory does not know the tenant
//	503  the directory itself failed
//
// The handler's context is derived from the request's own, so that a client
// that goes away cancels the lookup and the queries.
//
// # Mounted twice
//
// A request whose context already carries a tenant must name the same one, or
// it is refused with [ErrConflict]. So an outer mount that reads the claim of
// the authenticated user and an inner one that reads the path check each other.
// A handler that is to work for another tenant, such as an administrator's,
// says so itself with scope.With.
package httpmw
