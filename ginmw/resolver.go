package ginmw

import (
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/tenantry/tenantry/httpmw"
)

// Resolver reads from a request whom it names. Make one with [Subdomain],
// [Host], [PathParam], [Header], [Func] or [First]. A mistake in their arguments
// is kept in the Resolver, and [New] returns it. The zero value is such a mistake.
//
// It is a type of its own, because those that read from a gin.Context would find
// none in package httpmw.
type Resolver httpmw.Resolver

// Subdomain reads the label directly below one of the parent domains: with
// "myservice.com" the host "acme.myservice.com" names "acme". See
// [httpmw.Subdomain] for what other hosts do.
func Subdomain(parents ...string) Resolver { return Resolver(httpmw.Subdomain(parents...)) }

// Host reads the whole host name, for tenants with a domain of their own. See
// [httpmw.Host] for what other hosts do, and why it belongs behind Subdomain:
//
//	ginmw.First(ginmw.Subdomain("myservice.com"), ginmw.Host())
func Host() Resolver { return Resolver(httpmw.Host()) }

// PathParam reads a tenant id from the path parameter with the given name, such
// as "tenant" in "/t/:tenant/invoices".
func PathParam(name string) Resolver { return Resolver(httpmw.PathParam(name)) }

// Header reads a tenant id from the request header with the given name. A
// header that occurs twice is malformed.
//
// Use it only behind a proxy that sets this header on every request. Anyone who
// reaches the service directly, or through a proxy that passes the header on,
// can write any tenant into it.
func Header(name string) Resolver { return Resolver(httpmw.Header(name)) }

// Func reads a tenant id with f, for example from the claims that an
// authentication middleware left in c. That middleware must run first. An empty
// id means that no tenant is named. f must not write an answer.
//
// An error of f that matches an error of package httpmw is answered as such.
// Any other error is answered like a failed directory, with 503. f must be safe
// for concurrent use.
func Func(f func(c *gin.Context) (id string, err error)) Resolver {
	if f == nil {
		return Resolver(httpmw.Func(nil))
	}
	return Resolver(httpmw.Func(func(r *http.Request) (string, error) { return f(passageOf(r).gin) }))
}

// First asks the given resolvers in their order, and goes on to the next one
// only when a resolver finds no tenant named ([httpmw.ErrNoTenant]). A malformed
// name is an error at once.
func First(resolvers ...Resolver) Resolver {
	converted := make([]httpmw.Resolver, len(resolvers))
	for i, v := range resolvers {
		converted[i] = httpmw.Resolver(v)
	}
	return Resolver(httpmw.First(converted...))
}
