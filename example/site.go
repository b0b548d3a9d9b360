package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/tenantry/tenantry/catalog"
)

// signupLimit is how long a sign-up may take.
const signupLimit = 25 * time.Second

const welcome = `Invoices for small companies, each on a subdomain of its own.

Sign up with POST /signup and a JSON object of
  company, contact, email
  subdomain  where your invoices will be, and yours for ever
  plan       "shared", or "own" for a database of your own
`

// site answers on the bare domain, where nobody is a customer yet.
type site struct{ *backend }

func (s *site) welcome(c *gin.Context) { c.String(http.StatusOK, welcome) }

func (s *site) create(c *gin.Context) {
	in, err := readCustomer(c.Writer, c.Request)
	if err != nil {
		fail(c, err)
		return
	}
	// Who hangs up gets the account all the same: nothing is left half made.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.Request.Context()), signupLimit)
	defer cancel()
	tenant, err := s.signUp(ctx, in)
	if err != nil {
		fail(c, explain(ctx, err, in))
		return
	}
	url := tenantURL(c.Request, tenant)
	c.Header("Location", url)
	c.JSON(http.StatusCreated, gin.H{"url": url})
}

// explain says why there is no account, in words for the client.
func explain(ctx context.Context, err error, in newCustomer) error {
	var input *catalog.InputError
	switch {
	case errors.Is(err, catalog.ErrNoRoom):
		return &requestError{http.StatusServiceUnavailable, "there is no room for new customers at present: please try again later"}
	case errors.Is(err, catalog.ErrTaken):
		return &requestError{http.StatusConflict, fmt.Sprintf("subdomain: %s is taken", in.Subdomain)}
	case errors.Is(err, catalog.ErrReserved):
		return &requestError{http.StatusUnprocessableEntity, fmt.Sprintf("subdomain: %s is reserved", in.Subdomain)}
	case errors.As(err, &input) && input.Field == "name":
		return &requestError{http.StatusUnprocessableEntity, "company: " + input.Reason}
	}
	slog.ErrorContext(ctx, "sign-up failed", "tenant", in.Subdomain, "error", err)
	return &requestError{http.StatusServiceUnavailable, "the account could not be made yet: we keep the subdomain for you, please try again"}
}

// tenantURL returns where the tenant is served, on the port of the request.
func tenantURL(r *http.Request, tenant catalog.Tenant) string {
	host := tenant.Primary().Name + "." + domain
	if _, port, err := net.SplitHostPort(r.Host); err == nil && port != "" {
		host = net.JoinHostPort(host, port)
	}
	return "http://" + host + "/"
}
