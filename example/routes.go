package main

import (
	"net/http"

	"github.com/gin-gonic/gin"
	"gorm.io/gorm"

	"github.com/tenantry/tenantry/ginmw"
	"github.com/tenantry/tenantry/httpmw"
	"github.com/tenantry/tenantry/scope"
)

// newRouter returns the service for tenants, each on its subdomain.
func newRouter(db *gorm.DB, tenants []scope.Tenant) (http.Handler, error) {
	tenant, err := ginmw.New(httpmw.Fixed(tenants...), ginmw.Subdomain("localhost"))
	if err != nil {
		return nil, err
	}
	gin.SetMode(gin.ReleaseMode) // else gin prints every route
	r := gin.New()
	r.HandleMethodNotAllowed = true
	r.Use(gin.Recovery(), tenant)
	s := &service{db: db}
	r.GET("/", s.overview)
	r.GET("/invoices", s.list)
	r.POST("/invoices", s.create)
	r.GET("/invoices/:id", s.get)
	r.NoRoute(refuse(http.StatusNotFound, "no such page"))
	r.NoMethod(refuse(http.StatusMethodNotAllowed, "method not allowed"))
	return r, r.SetTrustedProxies(nil)
}

func refuse(status int, text string) gin.HandlerFunc {
	return func(c *gin.Context) { c.JSON(status, gin.H{"error": text}) }
}
