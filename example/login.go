package main

import (
	"net/http"
	"strings"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/gin-gonic/gin"
)

const signedIn = "signed in" // in a session

// mustSignIn lets a request pass that has a session, or an access key as its bearer
// token.
func (s *service) mustSignIn(c *gin.Context) {
	ok, err := s.knows(c)
	switch {
	case err != nil:
		s.fail(c, err)
	case ok:
		return
	case wantsPage(c):
		c.Redirect(http.StatusSeeOther, "/login")
	default:
		c.Header("WWW-Authenticate", "Bearer")
		c.JSON(http.StatusUnauthorized, gin.H{"error": "an access key is needed: Authorization: Bearer KEY"})
	}
	c.Abort()
}

func (s *service) knows(c *gin.Context) (bool, error) {
	if key, ok := strings.CutPrefix(c.GetHeader("Authorization"), "Bearer "); ok {
		return opens(s.tenantDB(c), key)
	}
	return loadSession(c, s.sessions, signedIn)
}

// loadSession puts the session of the cookie on the request's context, and reports
// whether it has the mark.
func loadSession(c *gin.Context, m *scs.SessionManager, mark string) (bool, error) {
	token, _ := c.Cookie(m.Cookie.Name) // "" without one
	ctx, err := m.Load(c.Request.Context(), token)
	if err != nil {
		return false, err
	}
	c.Request = c.Request.WithContext(ctx)
	return m.GetBool(ctx, mark), nil
}

// beginSession begins a session with the mark, under a new token.
func beginSession(c *gin.Context, m *scs.SessionManager, mark string) error {
	if _, err := loadSession(c, m, mark); err != nil {
		return err
	}
	ctx := c.Request.Context()
	if err := m.RenewToken(ctx); err != nil {
		return err
	}
	m.Put(ctx, mark, true)
	token, expiry, err := m.Commit(ctx)
	if err == nil {
		m.WriteSessionCookie(ctx, c.Writer, token, expiry)
	}
	return err
}

// endSession ends the session of the cookie.
func endSession(c *gin.Context, m *scs.SessionManager, mark string) error {
	if _, err := loadSession(c, m, mark); err != nil {
		return err
	}
	if err := m.Destroy(c.Request.Context()); err != nil {
		return err
	}
	m.WriteSessionCookie(c.Request.Context(), c.Writer, "", time.Time{})
	return nil
}

// loginForm is what a page to sign in shows.
type loginForm struct {
	Action string
	Key    *field
}

func newLoginForm(action, label, hint, value, problem string) loginForm {
	return loginForm{action, &field{ID: "key", Name: "key", Label: label, Value: value, Type: "password", Complete: "current-password", Hint: hint, Problem: problem, Focus: true}}
}

// loginPage shows the form. A link may fill it in, but only a post signs in.
func (s *service) loginPage(c *gin.Context) { s.showLogin(c, http.StatusOK, c.Query("key"), "") }

func (s *service) showLogin(c *gin.Context, status int, key, problem string) {
	s.show(c, status, "login", "Sign in", newLoginForm("/login", "Access key", "You have got it when you signed up.", key, problem))
}

func (s *service) login(c *gin.Context) {
	c.Request.Body = http.MaxBytesReader(c.Writer, c.Request.Body, maxBody)
	ok, err := opens(s.tenantDB(c), strings.TrimSpace(c.PostForm("key")))
	if err == nil && ok {
		err = beginSession(c, s.sessions, signedIn)
	}
	switch {
	case err != nil:
		s.fail(c, err)
	case !ok:
		s.showLogin(c, http.StatusUnprocessableEntity, "", "this is no access key of this customer")
	default:
		c.Redirect(http.StatusSeeOther, "/")
	}
}

func (s *service) logout(c *gin.Context) {
	if err := endSession(c, s.sessions, signedIn); err != nil {
		s.fail(c, err)
		return
	}
	c.Redirect(http.StatusSeeOther, "/login")
}
