package main

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/alexedwards/scs/v2"
	"github.com/alexedwards/scs/v2/memstore"
	"github.com/gin-gonic/gin"

	"github.com/tenantry/tenantry/catalog"
	"github.com/tenantry/tenantry/migrator"
	"github.com/tenantry/tenantry/scope"
)

// operator runs the service: sees all customers, suspends and resumes them, and rolls
// migrations out. Its pages are on the bare domain only.
type operator struct {
	*backend
	pages    pages
	token    string // lets in whoever has it, until the process ends
	sessions *scs.SessionManager
	rollout  *rollout
}

// What is in a session.
const (
	isOperator = "operator"
	saying     = "saying" // to the next page
)

func newOperator(b *backend, p pages) *operator {
	m := newSessionManager(memstore.NewWithCleanupInterval(0)) // a few sessions, which end with the process
	m.Cookie.Name, m.Cookie.Path, m.Cookie.SameSite = "operator", "/operator", http.SameSiteStrictMode
	return &operator{backend: b, pages: p, token: rand.Text(), sessions: m, rollout: newRollout(b)}
}

func (o *operator) routes(r gin.IRouter) {
	r.GET("/operator/login", o.loginPage)
	r.POST("/operator/login", o.login)
	r.POST("/operator/logout", o.logout)
	own := r.Group("/operator", o.mustSignIn)
	own.GET("", o.overview)
	own.POST("/tenants/:id/suspend", o.change("suspended", o.tenants.Suspend))
	own.POST("/tenants/:id/resume", o.change("resumed", o.tenants.Resume))
	own.POST("/tenants/:id/key", o.newKey)
	own.POST("/migrate", o.begin("migrate", o.rollout.up))
	own.POST("/rollback", o.begin("roll back", o.rollout.down))
	own.GET("/events", o.events)
}

func (o *operator) show(c *gin.Context, status int, name, title string, data any) {
	o.pages.render(c, status, name, page{Title: title, Data: data})
}

func (o *operator) fail(c *gin.Context, err error) { o.pages.fail(c, "", err) }

func (o *operator) mustSignIn(c *gin.Context) {
	ok, err := loadSession(c, o.sessions, isOperator)
	switch {
	case err != nil:
		o.fail(c, err)
	case !ok && wantsPage(c):
		c.Redirect(http.StatusSeeOther, "/operator/login")
		c.Abort()
	case !ok:
		o.pages.refuse(c, "", http.StatusUnauthorized, "the operator has to sign in")
	}
}

func (o *operator) loginPage(c *gin.Context) { o.showLogin(c, http.StatusOK, c.Query("token"), "") }

func (o *operator) showLogin(c *gin.Context, status int, token, problem string) {
	o.show(c, status, "login", "Operator", newLoginForm("/operator/login", "Token", "The program has printed it when it started.", token, problem))
}

func (o *operator) login(c *gin.Context) {
	form, err := readForm(c.Writer, c.Request)
	if err != nil {
		o.fail(c, err)
		return
	}
	if !o.isToken(strings.TrimSpace(form.Get("key"))) {
		o.showLogin(c, http.StatusUnprocessableEntity, "", "this is not the token")
		return
	}
	if err := beginSession(c, o.sessions, isOperator); err != nil {
		o.fail(c, err)
		return
	}
	c.Redirect(http.StatusSeeOther, "/operator")
}

func (o *operator) isToken(s string) bool {
	return subtle.ConstantTimeCompare(hashOf(s), hashOf(o.token)) == 1
}

func (o *operator) logout(c *gin.Context) {
	if err := endSession(c, o.sessions, isOperator); err != nil {
		o.fail(c, err)
		return
	}
	c.Redirect(http.StatusSeeOther, "/operator/login")
}

// change suspends or resumes a customer, and says so on the page that follows.
func (o *operator) change(done string, f func(context.Context, scope.Tenant) error) gin.HandlerFunc {
	return func(c *gin.Context) {
		t, err := scope.Parse(c.Param("id"))
		if err == nil {
			err = f(c.Request.Context(), t)
		}
		if err == nil {
			err = o.say(c.Request.Context(), t.String()+" is "+done)
		}
		if err != nil {
			o.failCustomer(c, err)
			return
		}
		c.Redirect(http.StatusSeeOther, "/operator")
	}
}

// say keeps a message for the next page: after a redirect, a reload sends no form again.
func (o *operator) say(ctx context.Context, message string) error {
	o.sessions.Put(ctx, saying, message)
	_, _, err := o.sessions.Commit(ctx) // the cookie stays as it is
	return err
}

// said returns the message, which is not shown again.
func (o *operator) said(ctx context.Context) (string, error) {
	message := o.sessions.PopString(ctx, saying)
	if message == "" {
		return "", nil
	}
	_, _, err := o.sessions.Commit(ctx)
	return message, err
}

// newKey makes an access key for a customer who has lost theirs, or never saw it because
// the sign-up was cut off.
func (o *operator) newKey(c *gin.Context) {
	ctx := c.Request.Context()
	t, err := scope.Parse(c.Param("id"))
	var tenant catalog.Tenant
	if err == nil {
		tenant, err = o.tenants.Get(ctx, t)
	}
	var key string
	if err == nil {
		key, err = o.issueKey(ctx, t)
	}
	if err != nil {
		o.failCustomer(c, err)
		return
	}
	at := tenantURL(c.Request, tenant)
	o.show(c, http.StatusOK, "signup", "A new key for "+t.String(), &signupStatus{Company: t.String(), Ready: true, URL: at, Login: loginURL(at, key), Key: key})
}

func (o *operator) failCustomer(c *gin.Context, err error) {
	var state *catalog.StateError
	switch {
	case errors.Is(err, scope.ErrInvalid), errors.Is(err, catalog.ErrUnknown):
		o.pages.refuse(c, "", http.StatusNotFound, "no such customer is served")
	case errors.Is(err, catalog.ErrSuspended):
		o.pages.refuse(c, "", http.StatusConflict, "the customer is suspended")
	case errors.As(err, &state):
		o.pages.refuse(c, "", http.StatusConflict, "the customer is "+string(state.State)+" and can't be changed")
	default:
		o.fail(c, err)
	}
}

// begin begins a rollout, if none is under way.
func (o *operator) begin(what string, work func(context.Context, migrator.Option) error) gin.HandlerFunc {
	return func(c *gin.Context) {
		if !o.rollout.begin(what, work) {
			o.pages.refuse(c, "", http.StatusConflict, "a rollout is under way already")
			return
		}
		c.Redirect(http.StatusSeeOther, "/operator#rollout")
	}
}

// perPage is how many customers a page shows.
const perPage = 50

// operatorPage is what the operator sees.
type operatorPage struct {
	Message   string // of what was done
	Customers []customer
	Next      int // page; 0 on the last
	Runs      []migrator.RunInfo
	Rollout   rolloutState
}

// customer is a row of the list.
type customer struct {
	catalog.Tenant
	Version  string // the last migration
	Progress migrator.State
	Failure  string
}

func (o *operator) overview(c *gin.Context) {
	ctx := c.Request.Context()
	state, _ := o.rollout.look() // first: if a rollout is over here, the rest is as it has left it
	customers, next, err := o.customers(ctx, pageOf(c))
	if err != nil {
		o.fail(c, err)
		return
	}
	runs, err := o.migrator().Runs(ctx, 5)
	if err != nil {
		o.fail(c, err)
		return
	}
	message, err := o.said(ctx)
	if err != nil {
		o.fail(c, err)
		return
	}
	o.show(c, http.StatusOK, "operator", "Customers", operatorPage{message, customers, next, runs, state})
}

// pageOf returns which page of the list is asked for, from 1 on.
func pageOf(c *gin.Context) int {
	n, err := strconv.ParseInt(c.Query("page"), 10, 32)
	if err != nil || n < 1 {
		return 1
	}
	return int(n)
}

// customers returns a page of customers, with where they are by the ledger. Pages are
// counted, and do not begin behind an id: the list has the database's order of texts, in
// which '-' may stand elsewhere than in Go's.
func (o *operator) customers(ctx context.Context, number int) (list []customer, next int, err error) {
	skip := (number - 1) * perPage
	for t, err := range o.tenants.List(ctx, catalog.Filter{}) {
		if err != nil {
			return nil, 0, err
		}
		if skip > 0 {
			skip--
			continue
		}
		if len(list) == perPage {
			next = number + 1
			break
		}
		list = append(list, customer{Tenant: t, Failure: t.Failure})
	}
	return list, next, o.versions(ctx, list)
}

// versions asks for all customers, which the ledger reads anyway: to name one that the
// migrator does not have, such as one whose sign-up has failed, would be an error.
func (o *operator) versions(ctx context.Context, list []customer) error {
	statuses, err := o.migrator().Status(ctx, migrator.Selection{})
	if err != nil {
		return err
	}
	byID := map[scope.Tenant]migrator.Status{}
	for _, s := range statuses {
		byID[s.Tenant.ID] = s
	}
	for i := range list {
		s := byID[list[i].ID] // zero of one that the migrator does not have
		list[i].Version, list[i].Progress = s.Last, s.State
		if s.Failure != nil {
			list[i].Failure = s.Failure.Message
		}
	}
	return nil
}
