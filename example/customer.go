package main

import (
	"net/http"
	"net/mail"
	"strings"

	"github.com/tenantry/tenantry/catalog"
	"github.com/tenantry/tenantry/scope"
)

// plan is what a customer pays for.
type plan string

const (
	planShared plan = "shared" // a schema in the database of all small customers
	planOwn    plan = "own"    // a database of its own
)

const subdomainRule = "1 to 48 of the letters a to z, digits and '-' are needed, a letter first and no '-' last"

// maxEmail is the length of an address (RFC 5321, section 4.5.3.1.3).
const maxEmail = 254

// newCustomer is the body of a request that signs a customer up.
type newCustomer struct {
	Company   string `json:"company"`
	Contact   string `json:"contact"`
	Email     string `json:"email"`
	Subdomain string `json:"subdomain"` // and its id, for ever
	Plan      plan   `json:"plan"`
}

// readCustomer returns the customer in the body of r, or a *requestError.
func readCustomer(w http.ResponseWriter, r *http.Request) (newCustomer, error) {
	var in newCustomer
	if err := readJSON(w, r, "a sign-up", &in); err != nil {
		return in, err
	}
	in.trim()
	return in, in.problems().err()
}

// readCustomerForm reads what a form has posted.
func readCustomerForm(w http.ResponseWriter, r *http.Request) (newCustomer, error) {
	form, err := readForm(w, r)
	if err != nil {
		return newCustomer{}, err
	}
	in := newCustomer{form.Get("company"), form.Get("contact"), form.Get("email"), form.Get("subdomain"), plan(form.Get("plan"))}
	in.trim()
	return in, in.problems().err()
}

func (in *newCustomer) trim() {
	for _, text := range []*string{&in.Company, &in.Contact, &in.Email, &in.Subdomain} {
		*text = strings.TrimSpace(*text)
	}
	in.Subdomain = strings.ToLower(in.Subdomain)
}

// problems leaves to the catalog which subdomains are reserved or taken.
func (in *newCustomer) problems() problems {
	var list problems
	list.add("company", isText(in.Company), textRule, maxText)
	list.add("contact", isText(in.Contact), textRule, maxText)
	list.add("email", isEmail(in.Email), "an address such as name@company.example is needed")
	list.add("subdomain", isSubdomain(in.Subdomain), subdomainRule)
	list.add("plan", in.Plan == planShared || in.Plan == planOwn, "%q or %q is needed", planShared, planOwn)
	return list
}

func isEmail(s string) bool {
	address, err := mail.ParseAddress(s)
	return err == nil && address.Address == s && len(s) <= maxEmail
}

// isSubdomain reports whether s is both a tenant's id and a host name.
func isSubdomain(s string) bool {
	_, noID := scope.Parse(s)
	_, noHost := catalog.ParseHost(s)
	return noID == nil && noHost == nil
}

func (in *newCustomer) kind() catalog.Kind {
	if in.Plan == planOwn {
		return catalog.OwnDatabase
	}
	return catalog.OwnSchema
}
