// Command quickstart is the program of docs/getting-started.md: customers sign up,
// and each has its own invoices on its own subdomain.
//
//	DATABASE_URL=postgres://… go run ./example/quickstart
package main

import (
	"context"
	"errors"
	"log"
	"net/http"
	"os"

	"github.com/gin-gonic/gin"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"

	"github.com/tenantry/tenantry/catalog"
	"github.com/tenantry/tenantry/ginmw"
	"github.com/tenantry/tenantry/migrator"
	"github.com/tenantry/tenantry/plugin"
)

// Invoice is a row of a customer. Nothing in it says of which.
type Invoice struct {
	ID    uint   `json:"id"`
	Title string `json:"title"`
}

var migrations = migrator.Migrations{{
	ID:      "0001_invoices",
	Migrate: func(tx *gorm.DB) error { return tx.AutoMigrate(&Invoice{}) },
}}

func main() {
	ctx, dsn := context.Background(), os.Getenv("DATABASE_URL")
	tenants, err := catalog.Open(ctx, dsn, catalog.WithMigrations(migrations))
	if err != nil {
		log.Fatal(err)
	}
	db, err := gorm.Open(postgres.Open(dsn), &gorm.Config{})
	if err != nil {
		log.Fatal(err)
	}
	handler, err := newHandler(ctx, db, tenants)
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(http.ListenAndServe("localhost:8080", handler)) //nolint:gosec // a first program
}

func newHandler(ctx context.Context, db *gorm.DB, tenants *catalog.Catalog) (http.Handler, error) {
	if err := db.Use(plugin.New(tenants.Strategy())); err != nil {
		return nil, err
	}
	if _, err := migrator.New(db, tenants, migrations).Run(ctx); err != nil {
		return nil, err
	}
	tenant, err := ginmw.New(tenants, ginmw.Subdomain("localhost"))
	if err != nil {
		return nil, err
	}
	r := gin.Default()
	r.POST("/signup/:subdomain", signUp(tenants))
	r.GET("/invoices", tenant, listInvoices(db))
	r.POST("/invoices", tenant, addInvoice(db))
	return r, nil
}

func signUp(tenants *catalog.Catalog) gin.HandlerFunc {
	return func(c *gin.Context) {
		_, err := tenants.Create(context.WithoutCancel(c.Request.Context()), catalog.New{ID: c.Param("subdomain")})
		if refused := (*catalog.InputError)(nil); errors.As(err, &refused) {
			c.JSON(http.StatusUnprocessableEntity, gin.H{"error": refused.Error()})
			return
		}
		answer(c, gin.H{"subdomain": c.Param("subdomain")}, err)
	}
}

func listInvoices(db *gorm.DB) gin.HandlerFunc {
	return func(c *gin.Context) {
		var invoices []Invoice
		answer(c, &invoices, db.WithContext(c.Request.Context()).Find(&invoices).Error)
	}
}

func addInvoice(db *gorm.DB) gin.HandlerFunc {
	return func(c *gin.Context) {
		invoice := Invoice{Title: c.Query("title")}
		answer(c, &invoice, db.WithContext(c.Request.Context()).Create(&invoice).Error)
	}
}

func answer(c *gin.Context, body any, err error) {
	if err != nil {
		_ = c.AbortWithError(http.StatusInternalServerError, err)
		return
	}
	c.JSON(http.StatusOK, body)
}
