package main

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/tenantry/tenantry/metrics"
)

// readyLimit is how long the database may take to say that it is there.
const readyLimit = time.Second

// health says how the service is, to those who watch it.
type health struct {
	*backend
	collector *metrics.Collector
	metrics   http.Handler
	isToken   func(string) bool // of the operator
}

func newHealth(b *backend, isToken func(string) bool) (*health, error) {
	collector, err := metrics.NewCollector(metrics.WithPlugin(b.tenantry), metrics.WithCatalog(b.tenants), metrics.WithMigrator(b.migrator()))
	if err != nil {
		return nil, err
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collector, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return &health{b, collector, promhttp.HandlerFor(registry, promhttp.HandlerOpts{}), isToken}, nil
}

func (h *health) routes(r gin.IRouter) {
	r.GET("/healthz", h.alive)
	r.GET("/readyz", h.ready)
	r.GET("/metrics", h.scrape)
}

func (h *health) alive(c *gin.Context) { c.String(http.StatusOK, "ok\n") }

// ready says whether requests can be served: not while the database is away. It names
// what is missing, and not why: everybody may ask.
func (h *health) ready(c *gin.Context) {
	ctx, cancel := context.WithTimeout(c.Request.Context(), readyLimit)
	defer cancel()
	var missing []string
	if h.tenants.Ping(ctx) != nil {
		missing = append(missing, "catalog")
	}
	if h.ping(ctx) != nil {
		missing = append(missing, "database")
	}
	if missing != nil {
		c.String(http.StatusServiceUnavailable, "not ready: %s\n", strings.Join(missing, ", "))
		return
	}
	c.String(http.StatusOK, "ok\n")
}

func (h *health) ping(ctx context.Context) error {
	pool, err := h.db.DB()
	if err != nil {
		return err
	}
	return pool.PingContext(ctx)
}

// scrape answers Prometheus: on the same machine, or with the operator's token. The
// numbers name no customer, but tell how many there are and how much they do, which is
// not for everybody. Behind a proxy on the same machine every request seems to be from
// there: then leave the token alone to decide.
func (h *health) scrape(c *gin.Context) {
	token, _ := strings.CutPrefix(c.GetHeader("Authorization"), "Bearer ")
	if !isLocal(c.Request) && !h.isToken(token) {
		c.String(http.StatusUnauthorized, "the operator's token is needed as a bearer token\n")
		return
	}
	h.metrics.ServeHTTP(c.Writer, c.Request)
}

func isLocal(r *http.Request) bool {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return false
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
}
