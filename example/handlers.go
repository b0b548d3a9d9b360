package main

import (
	"fmt"
	"net/http"
	"strconv"

	"github.com/alexedwards/scs/v2"
	"github.com/gin-gonic/gin"
	"gorm.io/gorm"

	"github.com/tenantry/tenantry/scope"
)

// service answers requests. Nothing in it knows where a tenant's rows are: the
// request's context carries the tenant, and db finds the place.
type service struct {
	db       *gorm.DB
	sessions *scs.SessionManager
	pages    pages
}

// tenantDB returns db for the tenant of the request.
func (s *service) tenantDB(c *gin.Context) *gorm.DB { return s.db.WithContext(c.Request.Context()) }

// tenantOf returns the id of the request's tenant. The middleware has put it there.
func tenantOf(c *gin.Context) string {
	t, err := scope.From(c.Request.Context())
	if err != nil {
		return ""
	}
	return t.String()
}

// show answers with a page of the tenant's.
func (s *service) show(c *gin.Context, status int, name, title string, data any) {
	s.pages.render(c, status, name, page{Title: title, Tenant: tenantOf(c), Data: data})
}

func (s *service) fail(c *gin.Context, err error) { s.pages.fail(c, tenantOf(c), err) }

// overview is the first page, for programs in a line.
func (s *service) overview(c *gin.Context) {
	if wantsPage(c) {
		s.list(c)
		return
	}
	total, err := summarize(s.tenantDB(c))
	if err != nil {
		s.fail(c, err)
		return
	}
	c.String(http.StatusOK, "%s: %d invoices, %s in all\n\nGET /invoices shows them.\n", tenantOf(c), total.Invoices, total.Total)
}

// invoicesPage is what the list shows.
type invoicesPage struct {
	Invoices []Invoice
	Sum      summary
	Form     invoiceForm
}

func (s *service) list(c *gin.Context) {
	if wantsPage(c) {
		s.showList(c, http.StatusOK, typed{}, nil)
		return
	}
	invoices, err := latest(s.tenantDB(c))
	if err != nil {
		s.fail(c, err)
		return
	}
	c.IndentedJSON(http.StatusOK, invoices)
}

// showList shows the list, and the form below with what was typed.
func (s *service) showList(c *gin.Context, status int, t typed, wrong problems) {
	invoices, err := latest(s.tenantDB(c))
	if err != nil {
		s.fail(c, err)
		return
	}
	sum, err := summarize(s.tenantDB(c))
	if err != nil {
		s.fail(c, err)
		return
	}
	s.show(c, status, "invoices", "Invoices", invoicesPage{invoices, sum, newInvoiceForm("/invoices", "Add", t, wrong)})
}

func (s *service) get(c *gin.Context) {
	invoice, err := s.invoice(c)
	switch {
	case err != nil:
		s.fail(c, err)
	case wantsPage(c):
		s.showInvoice(c, http.StatusOK, invoice.ID, typedOf(invoice), nil)
	default:
		c.IndentedJSON(http.StatusOK, invoice)
	}
}

// invoice loads the one that the path names.
func (s *service) invoice(c *gin.Context) (invoice Invoice, err error) {
	id, err := strconv.ParseInt(c.Param("id"), 10, 64)
	if err != nil {
		return invoice, gorm.ErrRecordNotFound
	}
	return invoice, load(s.tenantDB(c)).First(&invoice, id).Error
}

func (s *service) showInvoice(c *gin.Context, status int, id int64, t typed, wrong problems) {
	s.show(c, status, "invoice", fmt.Sprintf("Invoice %d", id), newInvoiceForm(fmt.Sprintf("/invoices/%d", id), "Save", t, wrong))
}

// create adds an invoice.
func (s *service) create(c *gin.Context) {
	t, in, err := read(c)
	var invoice Invoice
	if err == nil {
		err = s.tenantDB(c).Transaction(func(tx *gorm.DB) error {
			invoice, err = create(tx, in)
			return err
		})
	}
	wrong := problemsOf(err)
	switch {
	case wrong != nil && isForm(c.Request):
		s.showList(c, http.StatusUnprocessableEntity, t, wrong)
	case err != nil:
		s.fail(c, err)
	case isForm(c.Request):
		c.Redirect(http.StatusSeeOther, "/")
	default:
		c.Header("Location", fmt.Sprintf("/invoices/%d", invoice.ID))
		c.IndentedJSON(http.StatusCreated, invoice)
	}
}

// update changes an invoice.
func (s *service) update(c *gin.Context) {
	invoice, err := s.invoice(c)
	if err != nil {
		s.fail(c, err)
		return
	}
	t, in, err := read(c)
	if err == nil {
		err = s.tenantDB(c).Transaction(func(tx *gorm.DB) error {
			invoice, err = change(tx, invoice, in)
			return err
		})
	}
	wrong := problemsOf(err)
	switch {
	case wrong != nil && isForm(c.Request):
		s.showInvoice(c, http.StatusUnprocessableEntity, invoice.ID, t, wrong)
	case err != nil:
		s.fail(c, err)
	case isForm(c.Request):
		c.Redirect(http.StatusSeeOther, "/")
	default:
		c.IndentedJSON(http.StatusOK, invoice)
	}
}

// read reads an invoice from a form, with what was typed, or from JSON.
func read(c *gin.Context) (t typed, in newInvoice, err error) {
	if isForm(c.Request) {
		return readInvoiceForm(c.Writer, c.Request)
	}
	in, err = readInvoice(c.Writer, c.Request)
	return t, in, err
}
