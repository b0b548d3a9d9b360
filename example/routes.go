package main

import (
	"errors"
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/tenantry/tenantry/ginmw"
	"github.com/tenantry/tenantry/httpmw"
)

// domain is the service's own: each customer is on a subdomain of it.
const domain = "localhost"

// newRouter returns the whole service: the site on the bare domain, and the
// invoices of each customer on its subdomain or on a domain of its own.
func newRouter(b *backend) (http.Handler, error) {
	names := httpmw.First(httpmw.Subdomain(domain), httpmw.Host())
	tenant, err := ginmw.New(b.tenants, ginmw.Resolver(names), ginmw.WithAnswer(answerRefused))
	if err != nil {
		return nil, err
	}
	gin.SetMode(gin.ReleaseMode) // else gin prints every route

	site := &site{b}
	public := newEngine()
	public.GET("/", site.welcome)
	public.POST("/signup", site.create)

	s := &service{db: b.db}
	invoices := newEngine(tenant)
	invoices.GET("/", s.overview)
	invoices.GET("/invoices", s.list)
	invoices.POST("/invoices", s.create)
	invoices.GET("/invoices/:id", s.get)

	return byHost(names, public, invoices), errors.Join(public.SetTrustedProxies(nil), invoices.SetTrustedProxies(nil))
}

// byHost hands requests that name no customer to public, and all others to
// invoices. Nobody can have the subdomain www: it is reserved.
func byHost(names httpmw.Resolver, public, invoices http.Handler) http.Handler {
	www := httpmw.Ref{Kind: httpmw.KindSubdomain, Value: "www"}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ref, err := names.Resolve(r)
		if errors.Is(err, httpmw.ErrNoTenant) || ref == www {
			public.ServeHTTP(w, r)
			return
		}
		invoices.ServeHTTP(w, r)
	})
}

func newEngine(middleware ...gin.HandlerFunc) *gin.Engine {
	r := gin.New()
	r.HandleMethodNotAllowed = true
	r.Use(gin.Recovery())
	r.Use(middleware...)
	r.NoRoute(refuse(http.StatusNotFound, "no such page"))
	r.NoMethod(refuse(http.StatusMethodNotAllowed, "method not allowed"))
	return r
}

func refuse(status int, text string) gin.HandlerFunc {
	return func(c *gin.Context) { c.JSON(status, gin.H{"error": text}) }
}

// answerRefused answers requests that the middleware lets not pass.
func answerRefused(c *gin.Context, status int, err error) {
	if errors.Is(err, httpmw.ErrSuspended) {
		fail(c, err)
		return
	}
	httpmw.Answer(c.Writer, c.Request, status, err)
}
