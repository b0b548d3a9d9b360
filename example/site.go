package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"

	"github.com/gin-gonic/gin"

	"github.com/tenantry/tenantry/catalog"
)

// site answers on the bare domain, where nobody is a customer yet.
type site struct {
	*backend
	pages   pages
	signups signups
}

func (s *site) welcome(c *gin.Context) { s.showForm(c, http.StatusOK, newCustomer{}, nil) }

func (s *site) showForm(c *gin.Context, status int, in newCustomer, wrong problems) {
	s.pages.render(c, status, "welcome", page{Title: "Invoices for small companies", Data: newSignupForm(in, wrong)})
}

// available says whether a subdomain can be had, while it is being typed.
func (s *site) available(c *gin.Context) {
	in := newCustomer{Subdomain: c.Query("subdomain")}
	in.trim()
	wrong, err := s.checkSubdomain(c.Request.Context(), in)
	if err != nil {
		s.fail(c, err)
		return
	}
	text := wrong.of("subdomain")
	if text == "" {
		text = in.Subdomain + "." + domain + " can be yours"
	}
	c.JSON(http.StatusOK, gin.H{"free": len(wrong) == 0, "text": text})
}

func (s *site) checkSubdomain(ctx context.Context, in newCustomer) (wrong problems, err error) {
	if wrong.add("subdomain", isSubdomain(in.Subdomain), subdomainRule); len(wrong) > 0 {
		return wrong, nil
	}
	err = s.tenants.Check(ctx, catalog.New{ID: in.Subdomain, Kind: in.kind()})
	var failed *catalog.StateError
	var refused *requestError
	if errors.As(err, &failed) { // whoever it was may try again
		return nil, nil
	}
	if err != nil && errors.As(explain(ctx, err, in), &refused) && refused.problems != nil {
		return refused.problems, nil
	}
	return nil, err
}

// create signs a customer up: a program waits for it, a browser is shown how far it is.
func (s *site) create(c *gin.Context) {
	if isForm(c.Request) {
		s.createByForm(c)
		return
	}
	in, err := readCustomer(c.Writer, c.Request)
	if err != nil {
		s.fail(c, err)
		return
	}
	// Who hangs up gets the account all the same: nothing is left half made.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.Request.Context()), signupLimit)
	defer cancel()
	opened, err := s.openAccount(ctx, in)
	if err != nil {
		s.fail(c, explain(ctx, err, in))
		return
	}
	url := tenantURL(c.Request, opened.tenant)
	c.Header("Location", url)
	c.JSON(http.StatusCreated, gin.H{"url": url, "key": opened.key})
}

func (s *site) createByForm(c *gin.Context) {
	in, err := readCustomerForm(c.Writer, c.Request)
	wrong := problemsOf(err)
	if err == nil {
		wrong, err = s.checkSubdomain(c.Request.Context(), in)
	}
	switch {
	case wrong != nil:
		s.showForm(c, http.StatusUnprocessableEntity, in, wrong)
	case err != nil:
		s.fail(c, err)
	default:
		r := c.Request
		id := s.signups.begin(r.Context(), in.Company, func(ctx context.Context) signupStatus { return s.work(ctx, r, in) })
		c.Redirect(http.StatusSeeOther, "/signup/"+id)
	}
}

// work signs a customer up, and tells how it has ended.
func (s *site) work(ctx context.Context, r *http.Request, in newCustomer) signupStatus {
	opened, err := s.openAccount(ctx, in)
	if err != nil {
		return signupStatus{Company: in.Company, Problem: explain(ctx, err, in).Error()}
	}
	at := tenantURL(r, opened.tenant)
	return signupStatus{Company: in.Company, Ready: true, URL: at, Key: opened.key, Login: loginURL(at, opened.key)}
}

// loginURL returns the address of the page to sign in, filled in.
func loginURL(site, key string) string { return site + "login?" + url.Values{"key": {key}}.Encode() }

// progress shows how far a sign-up is, and looks again until it is over.
func (s *site) progress(c *gin.Context) {
	status := s.signups.get(c.Param("id"))
	if status == nil {
		s.pages.notFound(c, "")
		return
	}
	title := "Signing up"
	switch {
	case status.Ready:
		title = "Welcome"
	case status.Problem == "":
		c.Header("Refresh", "1")
	}
	s.pages.render(c, http.StatusOK, "signup", page{Title: title, Data: status})
}

// fail answers with what the client may know of err.
func (s *site) fail(c *gin.Context, err error) { s.pages.fail(c, "", err) }

// explain says why there is no account, in words for the client.
func explain(ctx context.Context, err error, in newCustomer) error {
	var input *catalog.InputError
	switch {
	case errors.Is(err, catalog.ErrNoRoom):
		return &requestError{status: http.StatusServiceUnavailable, text: "there is no room for new customers at present: please try again later"}
	case errors.Is(err, catalog.ErrTaken):
		return problems{{"subdomain", fmt.Sprintf("%s is taken", in.Subdomain)}}.as(http.StatusConflict)
	case errors.Is(err, catalog.ErrReserved):
		return problems{{"subdomain", fmt.Sprintf("%s is reserved", in.Subdomain)}}.as(http.StatusUnprocessableEntity)
	case errors.As(err, &input) && input.Field == "name":
		return problems{{"company", input.Reason}}.as(http.StatusUnprocessableEntity)
	}
	slog.ErrorContext(ctx, "sign-up failed", "tenant", in.Subdomain, "error", err)
	return &requestError{status: http.StatusServiceUnavailable, text: "the account could not be made yet: we keep the subdomain for you, please try again"}
}

// tenantURL returns where the tenant is served, on the port of the request.
func tenantURL(r *http.Request, tenant catalog.Tenant) string {
	host := tenant.Primary().Name + "." + domain
	if _, port, err := net.SplitHostPort(r.Host); err == nil && port != "" {
		host = net.JoinHostPort(host, port)
	}
	return "http://" + host + "/"
}
