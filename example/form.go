package main

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// field is an input of a form, with its value and what is wrong with it.
type field struct {
	ID, Name, Label, Value string
	Type                   string // text by default
	Complete               string // autocomplete
	Mode                   string // which keyboard a phone shows
	Hint, Problem          string
	Focus                  bool
}

// focusFirst puts the cursor where something is wrong.
func focusFirst(fields []*field) {
	for _, f := range fields {
		if f.Problem != "" {
			f.Focus = true
			return
		}
	}
}

// readForm reads the form in the body. Its errors are *requestError.
func readForm(w http.ResponseWriter, r *http.Request) (url.Values, error) {
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	if err := r.ParseForm(); err != nil {
		return nil, unreadable(err, "a form")
	}
	return r.PostForm, nil
}

// signupForm is what the form to sign up shows.
type signupForm struct {
	Fields      []*field
	Plans       []choice
	PlanProblem string
}

type choice struct {
	Value, Label string
	Chosen       bool
}

func newSignupForm(in newCustomer, wrong problems) signupForm {
	if in.Plan == "" {
		in.Plan = planShared
	}
	f := signupForm{
		Fields: []*field{
			{Name: "company", Label: "Company", Value: in.Company, Complete: "organization"},
			{Name: "contact", Label: "Your name", Value: in.Contact, Complete: "name"},
			{Name: "email", Label: "Email", Value: in.Email, Type: "email", Complete: "email"},
			{Name: "subdomain", Label: "Subdomain", Value: in.Subdomain, Complete: "off", Hint: "Your invoices will be at this name before ." + domain + ", for ever."},
		},
		Plans: []choice{
			{string(planShared), "Small: tables of your own in our database", in.Plan == planShared},
			{string(planOwn), "Large: a database of your own", in.Plan == planOwn},
		},
		PlanProblem: wrong.of("plan"),
	}
	for _, one := range f.Fields {
		one.ID, one.Problem = one.Name, wrong.of(one.Name)
		if one.Type == "" {
			one.Type = "text"
		}
	}
	focusFirst(f.Fields)
	return f
}

// invoiceForm is what the form of an invoice shows.
type invoiceForm struct {
	Action, Button string
	Company        *field
	Lines          []lineForm
	Problem        string // with the lines as a whole
}

type lineForm struct {
	Number int
	Fields []*field
}

// typed is a form of an invoice as it was typed.
type typed struct {
	company string
	lines   []typedLine
}

type typedLine struct{ text, quantity, price string }

// blankLines is how many lines a form has for more.
const blankLines = 2

func typedOf(i Invoice) typed {
	t := typed{company: i.Company.Name}
	for _, l := range i.Lines {
		t.lines = append(t.lines, typedLine{l.Text, strconv.FormatInt(l.Quantity, 10), l.Price.String()})
	}
	return t
}

// readInvoiceForm returns what was typed, without the lines left blank, and what it
// says.
func readInvoiceForm(w http.ResponseWriter, r *http.Request) (typed, newInvoice, error) {
	form, err := readForm(w, r)
	if err != nil {
		return typed{}, newInvoice{}, err
	}
	t, in := typed{company: form.Get("company")}, newInvoice{Company: form.Get("company")}
	for i, text := range form["text"] {
		l := typedLine{text: text}
		if i < len(form["quantity"]) && i < len(form["price"]) {
			l.quantity, l.price = form["quantity"][i], form["price"][i]
		}
		if strings.TrimSpace(l.text+l.quantity+l.price) == "" {
			continue
		}
		t.lines = append(t.lines, l)
		quantity, _ := strconv.ParseInt(strings.TrimSpace(l.quantity), 10, 64) // 0 is refused below
		in.Lines = append(in.Lines, newLine{l.text, quantity, parseCents(l.price)})
	}
	in.trim()
	return t, in, in.problems().err()
}

// parseCents reads an amount such as 12, 12.5 or 12,50. What is none is 0.
func parseCents(s string) Cents {
	whole, part, _ := strings.Cut(strings.ReplaceAll(strings.TrimSpace(s), ",", "."), ".")
	if len(part) > 2 {
		return 0
	}
	n, err := strconv.ParseInt(whole+(part + "00")[:2], 10, 64)
	if err != nil || n < 0 {
		return 0
	}
	return Cents(n)
}

func newInvoiceForm(action, button string, t typed, wrong problems) invoiceForm {
	f := invoiceForm{
		Action: action, Button: button, Problem: wrong.of("lines"),
		Company: &field{ID: "company", Name: "company", Label: "Customer", Value: t.company, Type: "text", Complete: "off", Problem: wrong.of("company")},
	}
	all := []*field{f.Company}
	for i := range len(t.lines) + blankLines {
		var l typedLine
		if i < len(t.lines) {
			l = t.lines[i]
		}
		line := fmt.Sprintf("lines[%d].", i)
		price := wrong.of(line + "price_cents")
		if price != "" {
			price = "an amount such as 12.50 is needed, up to " + Cents(maxPrice).String()
		}
		fields := []*field{
			{Name: "text", Label: "Text", Value: l.text, Problem: wrong.of(line + "text")},
			{Name: "quantity", Label: "Quantity", Value: l.quantity, Mode: "numeric", Problem: wrong.of(line + "quantity")},
			{Name: "price", Label: "Price", Value: l.price, Mode: "decimal", Problem: price},
		}
		for _, one := range fields {
			one.ID, one.Type, one.Complete = fmt.Sprint(one.Name, i), "text", "off"
		}
		f.Lines, all = append(f.Lines, lineForm{i + 1, fields}), append(all, fields...)
	}
	focusFirst(all)
	return f
}
