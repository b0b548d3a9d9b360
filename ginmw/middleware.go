package ginmw

import (
	"context"
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/tenantry/tenantry/httpmw"
	"github.com/tenantry/tenantry/scope"
)

// New returns middleware that puts the tenant of each request on the context of
// c.Request, and answers and aborts requests without one. The error says what is
// wrong with the arguments, down to those of the resolver.
//
// The middleware keeps no state and is safe for concurrent use.
func New(dir httpmw.Directory, resolver Resolver, opts ...Option) (gin.HandlerFunc, error) {
	converted := make([]httpmw.Option, len(opts))
	for i, o := range opts {
		converted[i] = httpmw.Option(o)
	}
	middleware, err := httpmw.New(dir, httpmw.Resolver(resolver), converted...)
	if err != nil {
		return nil, err
	}
	gate := middleware(http.HandlerFunc(admit))
	return func(c *gin.Context) { pass(gate, c) }, nil
}

// pass sends the request of c through gate, which either calls admit or answers.
func pass(gate http.Handler, c *gin.Context) {
	p := &passage{gin: c}
	gate.ServeHTTP(c.Writer, p.request())
	if p.tenant.IsZero() {
		c.Abort()
		return
	}
	c.Request = c.Request.WithContext(scope.With(c.Request.Context(), p.tenant))
}

// admit is the handler behind the gate.
func admit(_ http.ResponseWriter, r *http.Request) {
	if t, err := scope.From(r.Context()); err == nil {
		passageOf(r).tenant = t
	}
}

// passage is one request on its way through the gate. It rides on the context
// of a copy of the request that only the gate sees: gin uses a gin.Context again
// for other requests, so the context that handlers keep must not lead to one.
type passage struct {
	gin    *gin.Context
	tenant scope.Tenant // zero unless admitted
}

type key struct{}

// request returns the copy, on which gin's path parameters are where net/http
// has them.
func (p *passage) request() *http.Request {
	r := p.gin.Request
	r = r.WithContext(context.WithValue(r.Context(), key{}, p))
	for _, param := range p.gin.Params {
		r.SetPathValue(param.Key, param.Value)
	}
	return r
}

func passageOf(r *http.Request) *passage {
	p, ok := r.Context().Value(key{}).(*passage)
	if !ok {
		panic("ginmw: a request at the gate has no passage")
	}
	return p
}
