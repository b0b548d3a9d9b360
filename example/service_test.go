package main_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	example "github.com/tenantry/tenantry/example"
)

// list returns a customer's invoices, by company.
func list(t *testing.T, p *program, tenant string) map[string][]example.Invoice {
	t.Helper()
	status, body := p.do(t, "GET", tenant, "/invoices", "")
	var all []example.Invoice
	if err := json.Unmarshal([]byte(body), &all); err != nil || status != http.StatusOK {
		t.Fatalf("got %d, %v: %s", status, err, body)
	}
	companies := map[string][]example.Invoice{}
	for _, i := range all {
		companies[i.Company.Name] = append(companies[i.Company.Name], i)
	}
	return companies
}

func add(t *testing.T, p *program, tenant, company string) example.Invoice {
	t.Helper()
	status, body := p.do(t, "POST", tenant, "/invoices", invoiceOf(company))
	var i example.Invoice
	if err := json.Unmarshal([]byte(body), &i); err != nil || status != http.StatusCreated {
		t.Fatalf("got %d, %v: %s", status, err, body)
	}
	return i
}

func TestACustomersRowsAreThereForThatCustomerOnly(t *testing.T) {
	t.Parallel()
	p := start(t, database(t))
	created := add(t, p, "globex", "Painters Inc")
	if got := list(t, p, "globex")["Painters Inc"]; len(got) != 1 || got[0].Total() != 750 || got[0].Lines[0].Text != "Paint" {
		t.Errorf("globex has %+v", got)
	}
	if got := list(t, p, "acme"); len(got["Painters Inc"])+len(got["Springfield Power"]) > 0 || len(got["Coyote Enterprises"]) != 2 {
		t.Errorf("acme has %+v", got)
	}
	path := fmt.Sprintf("/invoices/%d", created.ID)
	if status, body := p.do(t, "GET", "globex", path, ""); status != http.StatusOK || !strings.Contains(body, "Painters Inc") {
		t.Errorf("globex gets %d %s", status, body)
	}
	if _, body := p.do(t, "GET", "acme", path, ""); strings.Contains(body, "Painters Inc") {
		t.Errorf("acme gets %s", body)
	}
	if _, body := p.do(t, "GET", "globex", "/", ""); !strings.Contains(body, "globex: 3 invoices, 250247.10 in all") {
		t.Errorf("globex's overview is %s", body)
	}
}

func TestTheDemonstrationHoldsWhereGlobexHasAnInvoiceOfTheSameNumber(t *testing.T) {
	t.Parallel()
	dsn := database(t)
	p := start(t, dsn)
	for range 3 { // globex then has 5; acme has 4, and the second run adds one
		add(t, p, "globex", "Painters Inc")
	}
	if err := p.stop(); err != nil {
		t.Fatal(err)
	}
	out, err := runOnce(t, "-dsn", dsn)
	if err != nil {
		t.Fatalf("%v after:\n%s", err, out)
	}
	mustContain(t, out, "201  #5   Road Runner Ltd", "200  #5   Painters Inc")
}

func TestInvoicesWrittenAtTheSameTimeShareOneNewCompanyPerCustomer(t *testing.T) {
	t.Parallel()
	p := start(t, database(t))
	var group sync.WaitGroup
	for _, tenant := range []string{"acme", "globex"} {
		for range 8 {
			group.Go(func() {
				if status, body := p.do(t, "POST", tenant, "/invoices", invoiceOf("Painters Inc")); status != http.StatusCreated {
					t.Errorf("got %d %s", status, body)
				}
			})
		}
	}
	group.Wait()
	for _, tenant := range []string{"acme", "globex"} {
		invoices := list(t, p, tenant)["Painters Inc"]
		if len(invoices) != 8 {
			t.Errorf("%s has %d invoices", tenant, len(invoices))
		}
		for _, i := range invoices {
			if i.Company.ID != invoices[0].Company.ID {
				t.Errorf("%s has the company twice", tenant)
			}
		}
	}
}

func TestWhatIsNoInvoiceIsRefusedAndNotStored(t *testing.T) {
	t.Parallel()
	p := start(t, database(t))
	const line = `{"text":"Paint","quantity":1,"price_cents":1}`
	for name, c := range map[string]struct {
		body   string
		status int
		want   string
	}{
		"no body":         {"", 400, "not the JSON of an invoice: EOF"},
		"no JSON":         {"company=Painters", 400, "invalid character"},
		"cut off":         {`{"company":"P"`, 400, "unexpected EOF"},
		"two values":      {invoiceOf("P") + "{}", 400, "more than one JSON value"},
		"trailing text":   {invoiceOf("P") + "x", 400, "invalid character"},
		"unknown field":   {`{"firm":"P"}`, 400, `unknown field \"firm\"`},
		"a list":          {"[]", 400, "array does not fit"},
		"wrong type":      {`{"company":"P","lines":[{"quantity":"two"}]}`, 400, "string does not fit lines.quantity"},
		"fraction":        {`{"company":"P","lines":[{"price_cents":1.5}]}`, 400, "does not fit lines.price_cents"},
		"number too big":  {`{"company":"P","lines":[{"price_cents":99999999999999999999}]}`, 400, "does not fit lines.price_cents"},
		"too large":       {`{"company":"` + strings.Repeat("P", example.MaxBody) + `"}`, 413, "more than 65536 bytes"},
		"null":            {"null", 422, "company: 1 to 200"},
		"blank company":   {`{"company":" ","lines":[` + line + `]}`, 422, "company: 1 to 200"},
		"long company":    {invoiceOf(strings.Repeat("ü", 201)), 422, "company: 1 to 200"},
		"NUL":             {`{"company":"P\u0000","lines":[` + line + `]}`, 422, "company: 1 to 200"},
		"no lines":        {`{"company":"P","lines":[]}`, 422, "lines: 1 to 100"},
		"too many lines":  {`{"company":"P","lines":[` + strings.Repeat(line+",", 100) + line + `]}`, 422, "lines: 1 to 100"},
		"no quantity":     {`{"company":"P","lines":[{"text":"T","price_cents":1}]}`, 422, "lines[0].quantity: 1 to 1000"},
		"negative price":  {`{"company":"P","lines":[` + line + `,{"text":"T","quantity":1,"price_cents":-1}]}`, 422, "lines[1].price_cents"},
		"several at once": {`{"lines":[{}]}`, 422, "company: 1 to 200 printable characters are needed; lines[0].text"},
	} {
		t.Run(name, func(t *testing.T) {
			status, body := p.do(t, "POST", "acme", "/invoices", c.body)
			if status != c.status || !strings.Contains(body, c.want) {
				t.Errorf("got %d %s, want %d %s", status, body, c.status, c.want)
			}
		})
	}
	mustContain(t, overview(t, p), "acme: 4 invoices")
}

func overview(t *testing.T, p *program) string {
	t.Helper()
	_, body := p.do(t, "GET", "acme", "/", "")
	return body
}

func TestTheLargestInvoiceIsStored(t *testing.T) {
	t.Parallel()
	p := start(t, database(t))
	line := `{"text":"` + strings.Repeat("ü", 200) + `","quantity":1000,"price_cents":100000000}`
	status, body := p.do(t, "POST", "acme", "/invoices", `{"company":"P","lines":[`+strings.Repeat(line+",", 99)+line+`]}`)
	if status != http.StatusCreated || !strings.Contains(body, `"total_cents": 10000000000000`) {
		t.Errorf("got %d %s", status, body)
	}
}

func TestWhatIsNotThereIsNotFound(t *testing.T) {
	t.Parallel()
	p := start(t, database(t))
	for _, c := range []struct {
		method, tenant, path string
		status               int
	}{
		{"GET", "acme", "/invoices/999", 404},
		{"GET", "acme", "/invoices/0", 404},
		{"GET", "acme", "/invoices/-1", 404},
		{"GET", "acme", "/invoices/9223372036854775807", 404},
		{"GET", "acme", "/invoices/9223372036854775808", 404},
		{"GET", "acme", "/invoices/one", 404},
		{"GET", "acme", "/favicon.ico", 404},
		{"DELETE", "acme", "/invoices/1", 405},
		{"GET", "initech", "/", 404},
		{"GET", "initech", "/nowhere", 404},
		{"GET", "a.acme", "/", 400},
	} {
		if status, body := p.do(t, c.method, c.tenant, c.path, ""); status != c.status || !strings.Contains(body, "error") {
			t.Errorf("%s %s for %s: got %d %s, want %d", c.method, c.path, c.tenant, status, body, c.status)
		}
	}
}

func TestAFailureTellsTheClientNothing(t *testing.T) {
	t.Parallel()
	dsn := database(t)
	p := start(t, dsn)
	execute(t, dsn, "drop schema "+tenantOf(t, dsn, "acme").Schema+" cascade")
	for path, method := range map[string]string{"/": "GET", "/invoices": "POST", "/invoices/1": "GET"} {
		status, body := p.do(t, method, "acme", path, invoiceOf("P"))
		if status != http.StatusInternalServerError || body != `{"error":"internal error"}` {
			t.Errorf("%s %s: got %d %s", method, path, status, body)
		}
	}
	if len(list(t, p, "globex")) == 0 {
		t.Error("globex has lost its invoices, too")
	}
}
