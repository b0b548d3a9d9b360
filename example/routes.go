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

// router is the whole service: the site on the bare domain, and the invoices of each
// customer on its subdomain or on a domain of its own.
type router struct {
	http.Handler
	site     *site
	operator *operator
	health   *health
}

func newRouter(b *backend) (*router, error) {
	p, err := newPages()
	if err != nil {
		return nil, err
	}
	names := httpmw.First(httpmw.Subdomain(domain), httpmw.Host())
	tenant, err := ginmw.New(b.tenants, ginmw.Resolver(names), ginmw.WithAnswer(p.answerRefused))
	if err != nil {
		return nil, err
	}
	gin.SetMode(gin.ReleaseMode) // else gin prints every route
	site, operator := &site{backend: b, pages: p}, newOperator(b, p)
	health, err := newHealth(b, operator.isToken)
	if err != nil {
		return nil, err
	}
	public, invoices := newEngine(p), newEngine(p, tenant)
	site.routes(public)
	operator.routes(public)
	health.routes(public)
	s := &service{db: b.db, sessions: newSessions(b.db), pages: p}
	s.routes(invoices)
	if err := errors.Join(public.SetTrustedProxies(nil), invoices.SetTrustedProxies(nil)); err != nil {
		return nil, err
	}
	return &router{secured(byHost(names, public, invoices)), site, operator, health}, nil
}

// stop ends what lasts: rollouts and their streams of events.
func (r *router) stop() { r.operator.rollout.stop() }

// wait waits for what requests have begun and left behind. The database is needed until then.
func (r *router) wait() error {
	r.stop()
	r.operator.rollout.wait()
	r.site.signups.wait()
	return r.health.collector.Close()
}

func (s *site) routes(r gin.IRouter) {
	r.GET("/", s.welcome)
	r.POST("/signup", s.create)
	r.GET("/signup/available", s.available)
	r.GET("/signup/:id", s.progress)
}

func (s *service) routes(r gin.IRouter) {
	r.GET("/login", s.loginPage)
	r.POST("/login", s.login)
	r.POST("/logout", s.logout)
	own := r.Group("/", s.mustSignIn)
	own.GET("/", s.overview)
	own.GET("/invoices", s.list)
	own.POST("/invoices", s.create)
	own.GET("/invoices/:id", s.get)
	own.POST("/invoices/:id", s.update)
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

func newEngine(p pages, middleware ...gin.HandlerFunc) *gin.Engine {
	r := gin.New()
	r.HandleMethodNotAllowed = true
	r.Use(gin.Recovery())
	serveFiles(r)
	r.Use(middleware...)
	r.NoRoute(func(c *gin.Context) { p.notFound(c, tenantOf(c)) })
	r.NoMethod(func(c *gin.Context) { p.refuse(c, tenantOf(c), http.StatusMethodNotAllowed, "method not allowed") })
	return r
}
