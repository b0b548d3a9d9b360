package main

import (
	"context"
	"errors"
	"log/slog"
	"net/http"

	"github.com/gin-gonic/gin"
	"gorm.io/gorm"

	"github.com/tenantry/tenantry/httpmw"
)

// problemsOf returns what is wrong with the fields of a request, if err says so.
func problemsOf(err error) problems {
	var refused *requestError
	if errors.As(err, &refused) {
		return refused.problems
	}
	return nil
}

// fail answers with what the client may know of err, and logs the rest. tenant is
// whose page it is, "" on the bare domain.
func (p pages) fail(c *gin.Context, tenant string, err error) {
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
	p.refuse(c, tenant, status, text)
}

// refuse answers with a page for browsers, and with JSON for programs.
func (p pages) refuse(c *gin.Context, tenant string, status int, text string) {
	if wantsPage(c) {
		p.render(c, status, "notice", page{Title: http.StatusText(status), Tenant: tenant, Data: text})
		c.Abort()
		return
	}
	c.AbortWithStatusJSON(status, gin.H{"error": text})
}

func (p pages) notFound(c *gin.Context, tenant string) {
	p.refuse(c, tenant, http.StatusNotFound, "no such page")
}

// answerRefused answers requests that the middleware lets not pass.
func (p pages) answerRefused(c *gin.Context, status int, err error) {
	switch {
	case errors.Is(err, httpmw.ErrSuspended):
		p.fail(c, "", err)
	case wantsPage(c) && status == http.StatusNotFound:
		p.refuse(c, "", status, "nobody has this subdomain")
	default:
		httpmw.Answer(c.Writer, c.Request, status, err)
	}
}
