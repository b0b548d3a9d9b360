package main_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"
)

// browser is a visitor with cookies, who follows no redirect.
type browser struct {
	client *http.Client
	port   string
}

// response is an answer that has been read.
type response struct {
	status int
	header http.Header
	body   string
}

func (p *program) browser(t *testing.T) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(p.addr)
	if err != nil {
		t.Fatal(err)
	}
	dial := func(ctx context.Context, network, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, p.addr)
	}
	transport := &http.Transport{DialContext: dial}
	t.Cleanup(transport.CloseIdleConnections)
	return &browser{port: port, client: &http.Client{
		Jar: jar, Transport: transport, Timeout: 30 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// at returns the address of a page of host.
func (b *browser) at(host, path string) string { return "http://" + host + ":" + b.port + path }

func (b *browser) send(t *testing.T, method, url string, form url.Values, header ...string) response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", "text/html,application/xhtml+xml,*/*;q=0.8")
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	answer, err := b.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response{answer.StatusCode, answer.Header, string(body)}
}

func (b *browser) get(t *testing.T, url string) response {
	t.Helper()
	return b.send(t, http.MethodGet, url, nil)
}

// post posts a form, and must get the status.
func (b *browser) post(t *testing.T, url string, form url.Values, want int) response {
	t.Helper()
	r := b.send(t, http.MethodPost, url, form)
	if r.status != want {
		t.Fatalf("POST %s: got %d, want %d: %s", url, r.status, want, r.body)
	}
	return r
}

// signIn signs in at a customer with its key.
func (b *browser) signIn(t *testing.T, p *program, tenant string) {
	t.Helper()
	key, ok := p.keys.Load(tenant + ".localhost")
	if !ok {
		t.Fatalf("there is no key of %s", tenant)
	}
	r := b.post(t, b.at(tenant+".localhost", "/login"), url.Values{"key": {key.(string)}}, http.StatusSeeOther)
	if r.header.Get("Location") != "/" {
		t.Errorf("got %v", r.header)
	}
}

func form(pairs ...string) url.Values {
	v := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		v.Add(pairs[i], pairs[i+1])
	}
	return v
}

func signup(subdomain string) url.Values {
	return form("company", "Initech", "contact", "Bill", "email", "bill@initech.example", "subdomain", subdomain, "plan", "shared")
}

func TestSigningUpByTheForm(t *testing.T) {
	t.Parallel()
	p := start(t, database(t))
	b := p.browser(t)
	mustContain(t, b.get(t, b.at("localhost", "/")).body, `<label for="subdomain">`, `src="/signup.js"`)
	page := b.at("localhost", b.post(t, b.at("localhost", "/signup"), signup("initech"), http.StatusSeeOther).header.Get("Location"))
	var shown response
	until(t, "the account is there", func() bool {
		shown = b.get(t, page)
		ready := strings.Contains(shown.body, "can sign in")
		if !ready && shown.header.Get("Refresh") == "" {
			t.Fatalf("the page looks no more: %s", shown.body)
		}
		return ready
	})
	link := regexp.MustCompile(`href="(http://initech\.localhost:\d+/login\?key=(\w+))"`).FindStringSubmatch(shown.body)
	if link == nil || shown.header.Get("Refresh") != "" {
		t.Fatalf("got %v %s", shown.header, shown.body)
	}
	mustContain(t, b.get(t, link[1]).body, `value="`+link[2]+`"`)
	b.post(t, b.at("initech.localhost", "/login"), form("key", link[2]), http.StatusSeeOther)
	mustContain(t, b.get(t, b.at("initech.localhost", "/")).body, `data-tenant="initech"`, `id="empty"`)
	if r := b.get(t, b.at("localhost", "/signup/nobody-knows")); r.status != http.StatusNotFound {
		t.Errorf("got %d", r.status)
	}
}

func TestBadSignUpsAreAnsweredNextToTheField(t *testing.T) {
	t.Parallel()
	p := start(t, database(t))
	b := p.browser(t)
	at := b.at("localhost", "/signup")
	bad := signup("initech")
	bad.Set("company", `<script>alert("x")</script>`)
	bad.Set("email", "nobody")
	bad.Set("plan", "free")
	r := b.post(t, at, bad, http.StatusUnprocessableEntity)
	mustContain(t, r.body, `value="&lt;script&gt;alert(&#34;x&#34;)&lt;/script&gt;"`, `aria-describedby="email-help" aria-invalid="true" autofocus`,
		`<div id="email-help"><p class="problem">an address such as`, `<div id="plan-help"><p class="problem">`, `value="Bill"`)
	if strings.Contains(r.body, "<script>alert") || strings.Count(r.body, "autofocus") != 1 {
		t.Error(r.body)
	}
	for subdomain, want := range map[string]string{"acme": "acme is taken", "www": "www is reserved", "1st": "a letter first"} {
		r := b.post(t, at, signup(subdomain), http.StatusUnprocessableEntity)
		mustContain(t, r.body, `<div id="subdomain-help"><p class="problem">`, want)
		available := b.get(t, b.at("localhost", "/signup/available?subdomain="+subdomain))
		mustContain(t, available.body, `"free":false`, want)
	}
	mustContain(t, b.get(t, b.at("localhost", "/signup/available?subdomain=Initech")).body, `{"free":true,"text":"initech.localhost can be yours"}`)
}

func TestInvoicesByForms(t *testing.T) {
	t.Parallel()
	p := start(t, database(t))
	b := p.browser(t)
	b.signIn(t, p, "globex")
	at := b.at("globex.localhost", "/invoices")
	r := b.post(t, at, form("company", "Painters Inc", "text", "Paint", "quantity", "many", "price", "2.505", "text", "", "quantity", "", "price", ""), http.StatusUnprocessableEntity)
	mustContain(t, r.body, `<div id="quantity0-help"><p class="problem">1 to 1000 is needed`, `<div id="price0-help"><p class="problem">an amount such as 12.50`,
		`value="Painters Inc"`, `value="many"`, `value="2.505"`)
	mustContain(t, b.post(t, at, form("company", "", "text", "", "quantity", "", "price", ""), http.StatusUnprocessableEntity).body,
		`<div id="company-help"><p class="problem">`, `role="alert">1 to 100 are needed`)

	b.post(t, at, form("company", "Painters Inc", "text", "Paint", "quantity", "3", "price", "2,50", "text", "Brush", "quantity", "1", "price", "4"), http.StatusSeeOther)
	list := b.get(t, at).body
	mustContain(t, list, "Painters Inc", `<td class="number">11.50</td>`, `id="total">250251.10<`)
	edit := b.at("globex.localhost", "/invoices/3")
	mustContain(t, b.get(t, edit).body, "Invoice 3", `value="Brush"`, `value="2.50"`)
	b.post(t, edit, form("company", "Glaziers Inc", "text", "Glass", "quantity", "1", "price", "100"), http.StatusSeeOther)
	list = b.get(t, at).body
	mustContain(t, list, "Glaziers Inc", `<td class="number">100.00</td>`, `id="total">250339.60<`)
	if strings.Contains(list, "Painters Inc") {
		t.Error(list)
	}
	if r := b.send(t, http.MethodPost, b.at("globex.localhost", "/invoices/99"), form("company", "x")); r.status != http.StatusNotFound {
		t.Errorf("got %d", r.status)
	}
}

// TestACookieOrKeyOfOneCustomerIsRefusedOnEveryOtherHost.
func TestACookieOrKeyOfOneCustomerIsRefusedOnEveryOtherHost(t *testing.T) {
	t.Parallel()
	p := start(t, database(t))
	b := p.browser(t)
	b.signIn(t, p, "acme")
	acme, err := url.Parse(b.at("acme.localhost", "/"))
	if err != nil {
		t.Fatal(err)
	}
	cookies := b.client.Jar.Cookies(acme)
	if len(cookies) != 1 || b.get(t, acme.String()).status != http.StatusOK {
		t.Fatalf("got %v", cookies)
	}
	stolen := cookies[0].Name + "=" + cookies[0].Value
	thief := p.browser(t)
	if r := thief.send(t, "GET", acme.String(), nil, "Cookie", stolen); r.status != http.StatusOK {
		t.Errorf("the cookie is not enough: %d", r.status)
	}
	for _, at := range []string{thief.at("globex.localhost", "/"), thief.at("globex.localhost", "/invoices/1")} {
		if r := thief.send(t, "GET", at, nil, "Cookie", stolen); r.status != http.StatusSeeOther || r.header.Get("Location") != "/login" {
			t.Errorf("%s: got %d %s", at, r.status, r.body)
		}
	}
	for _, name := range []string{"session", "operator"} {
		if r := thief.send(t, "GET", thief.at("localhost", "/operator"), nil, "Cookie", name+"="+cookies[0].Value); r.status != http.StatusSeeOther {
			t.Errorf("the operator's page: got %d", r.status)
		}
	}
	key, _ := p.keys.Load("acme.localhost")
	if r := thief.post(t, thief.at("globex.localhost", "/login"), form("key", key.(string)), http.StatusUnprocessableEntity); r.header.Get("Set-Cookie") != "" {
		t.Errorf("got %v", r.header)
	}
	if r := thief.send(t, "GET", thief.at("globex.localhost", "/invoices"), nil, "Authorization", "Bearer "+key.(string), "Accept", "*/*"); r.status != http.StatusUnauthorized {
		t.Errorf("the key as a bearer token: got %d", r.status)
	}

	b.post(t, b.at("acme.localhost", "/logout"), form(), http.StatusSeeOther)
	if r := thief.send(t, "GET", acme.String(), nil, "Cookie", stolen); r.status != http.StatusSeeOther {
		t.Errorf("after signing out: got %d", r.status)
	}
}

func TestSigningInBeginsANewSession(t *testing.T) {
	t.Parallel()
	p := start(t, database(t))
	b := p.browser(t)
	key, _ := p.keys.Load("acme.localhost")
	r := b.send(t, http.MethodPost, b.at("acme.localhost", "/login"), form("key", key.(string)), "Cookie", "session=planted")
	cookie := r.header.Get("Set-Cookie")
	if r.status != http.StatusSeeOther || strings.Contains(cookie, "planted") {
		t.Fatalf("got %d %s", r.status, cookie)
	}
	mustContain(t, cookie, "session=", "Path=/;", "HttpOnly", "SameSite=Lax")
	if strings.Contains(cookie, "Domain") {
		t.Errorf("it goes to other hosts: %s", cookie)
	}
}

// TestPostsOfOtherOriginsAreRefused, also those of another customer's page, which is on
// the same site for a browser.
func TestPostsOfOtherOriginsAreRefused(t *testing.T) {
	t.Parallel()
	p := start(t, database(t))
	b := p.browser(t)
	b.signIn(t, p, "acme")
	at, invoice := b.at("acme.localhost", "/invoices"), form("company", "Painters Inc", "text", "Paint", "quantity", "3", "price", "2.50")
	for _, header := range [][]string{
		{"Origin", b.at("globex.localhost", "")}, {"Origin", b.at("localhost", "")}, {"Origin", "https://evil.example"},
		{"Sec-Fetch-Site", "same-site", "Origin", b.at("globex.localhost", "")}, {"Sec-Fetch-Site", "cross-site"},
	} {
		if r := b.send(t, http.MethodPost, at, invoice, header...); r.status != http.StatusForbidden {
			t.Errorf("%v: got %d", header, r.status)
		}
	}
	if r := b.send(t, http.MethodPost, at, invoice, "Sec-Fetch-Site", "same-origin", "Origin", b.at("acme.localhost", "")); r.status != http.StatusSeeOther {
		t.Errorf("its own page: got %d", r.status)
	}
	if got := list(t, p, "acme")["Painters Inc"]; len(got) != 1 {
		t.Errorf("got %v", got)
	}
}

func TestPagesHaveTheirHeaders(t *testing.T) {
	t.Parallel()
	p := start(t, database(t))
	b := p.browser(t)
	for _, at := range []string{b.at("localhost", "/"), b.at("acme.localhost", "/login"), b.at("localhost", "/operator/login")} {
		r := b.get(t, at)
		mustContain(t, r.header.Get("Content-Security-Policy"), "default-src 'none'", "frame-ancestors 'none'", "form-action 'self'")
		if r.status != http.StatusOK || r.header.Get("X-Content-Type-Options") != "nosniff" || r.header.Get("X-Frame-Options") != "DENY" || r.header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: got %d %v", at, r.status, r.header)
		}
		mustContain(t, r.body, `<html lang="en">`, `name="viewport"`, `<main id="main">`, `class="skip" href="#main"`)
		if strings.Contains(r.body, "<style") || strings.Contains(r.body, " style=") || regexp.MustCompile(`<script[^>]*>[^<]`).MatchString(r.body) {
			t.Errorf("%s has what its policy forbids: %s", at, r.body)
		}
	}
	for _, name := range []string{"style.css", "signup.js", "operator.js"} {
		if r := b.get(t, b.at("acme.localhost", "/"+name)); r.status != http.StatusOK {
			t.Errorf("%s: got %d", name, r.status)
		}
	}
}

func TestBrowsersGetPagesAndProgramsJSON(t *testing.T) {
	t.Parallel()
	dsn := database(t)
	p := start(t, dsn)
	b := p.browser(t)
	if status, _ := p.asOperator(t, "/operator/tenants/acme/suspend"); status != http.StatusOK {
		t.Fatalf("got %d", status)
	}
	until(t, "acme is suspended", func() bool { return b.get(t, b.at("acme.localhost", "/")).status == http.StatusForbidden })
	for _, c := range []struct {
		host, path string
		status     int
		page, json string
	}{
		{"acme.localhost", "/", 403, "this customer is suspended", `{"error":"this customer is suspended`},
		{"nobody.localhost", "/", 404, "nobody has this subdomain", `{"error":"unknown tenant"}`},
		{"localhost", "/nothing", 404, "no such page", `{"error":"no such page"}`},
		{"globex.localhost", "/nothing", 404, "no such page", `{"error":"no such page"}`},
	} {
		page := b.get(t, b.at(c.host, c.path))
		program := b.send(t, "GET", b.at(c.host, c.path), nil, "Accept", "*/*")
		if page.status != c.status || program.status != c.status || !strings.Contains(page.body, "<!doctype html>") || !strings.Contains(page.body, c.page) || !strings.Contains(program.body, c.json) {
			t.Errorf("%s%s: got %d %s and %d %s", c.host, c.path, page.status, page.body, program.status, program.body)
		}
	}
}
