package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"

	"github.com/gin-gonic/gin"
	"gorm.io/gorm"

	"github.com/tenantry/tenantry/httpmw"
	"github.com/tenantry/tenantry/scope"
)

// service answers requests. Nothing in it knows where a tenant's rows are: the
// request's context carries the tenant, and db finds the place.
type service struct{ db *gorm.DB }

// tenantDB returns db for the tenant of the request.
func (s *service) tenantDB(c *gin.Context) *gorm.DB { return s.db.WithContext(c.Request.Context()) }

// overview is a page for people.
func (s *service) overview(c *gin.Context) {
	tenant, err := scope.From(c.Request.Context())
	if err != nil {
		fail(c, err)
		return
	}
	total, err := summarize(s.tenantDB(c))
	if err != nil {
		fail(c, err)
		return
	}
	c.String(http.StatusOK, "%s: %d invoices, %s in all\n\nGET /invoices shows them.\n", tenant, total.Invoices, total.Total)
}

func (s *service) list(c *gin.Context) {
	var invoices []Invoice
	if err := load(s.tenantDB(c)).Order("id desc").Limit(newest).Find(&invoices).Error; err != nil {
		fail(c, err)
		return
	}
	c.IndentedJSON(http.StatusOK, invoices)
}

func (s *service) get(c *gin.Context) {
	id, err := strconv.ParseInt(c.Param("id"), 10, 64)
	if err != nil {
		fail(c, gorm.ErrRecordNotFound)
		return
	}
	var invoice Invoice
	if err := load(s.tenantDB(c)).First(&invoice, id).Error; err != nil {
		fail(c, err)
		return
	}
	c.IndentedJSON(http.StatusOK, invoice)
}

func (s *service) create(c *gin.Context) {
	in, err := readInvoice(c.Writer, c.Request)
	if err != nil {
		fail(c, err)
		return
	}
	var invoice Invoice
	err = s.tenantDB(c).Transaction(func(tx *gorm.DB) error {
		invoice, err = create(tx, in)
		return err
	})
	if err != nil {
		fail(c, err)
		return
	}
	c.Header("Location", fmt.Sprintf("/invoices/%d", invoice.ID))
	c.IndentedJSON(http.StatusCreated, invoice)
}

// fail answers with what the client may know of err, and logs the rest.
func fail(c *gin.Context, err error) {
	status, text := http.StatusInternalServerError, "internal error"
	var wrong *requestError
	switch {
	case errors.As(err, &wrong):
		status, text = wrong.status, wrong.text
	case errors.Is(err, gorm.ErrRecordNotFound):
		status, text = http.StatusNotFound, "no such invoice"
	case errors.Is(err, httpmw.ErrSuspended):
		status, text = http.StatusForbidden, "this customer is suspended: the invoices are kept, and are back when the customer is"
	case errors.Is(err, context.Canceled):
		text = "canceled" // the client is gone
	default:
		slog.ErrorContext(c.Request.Context(), "request failed", "method", c.Request.Method, "host", c.Request.Host, "path", c.Request.URL.Path, "error", err)
	}
	c.AbortWithStatusJSON(status, gin.H{"error": text})
}
