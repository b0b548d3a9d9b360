//go:build integration

package main_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// screenshots names the variable with the directory that keeps what a browser test has
// seen. Without it, go test -artifacts does.
const screenshots = "TENANTRY_SCREENSHOTS"

const (
	stepLimit    = 15 * time.Second // of what never comes
	browserLimit = 2 * time.Minute
)

// tab is a page of a browser, for one test.
type tab struct {
	t    *testing.T
	ctx  context.Context
	port string // of the program
	dir  string // for screenshots

	mu     sync.Mutex // guards errors
	errors []string   // on the console, such as a violation of the content security policy
}

// browse opens a browser, which resolves *.localhost by itself.
func browse(t *testing.T, p *program) *tab {
	t.Helper()
	_, port, err := net.SplitHostPort(p.addr)
	if err != nil {
		t.Fatal(err)
	}
	b := &tab{t: t, port: port, dir: os.Getenv(screenshots)}
	if b.dir == "" {
		b.dir = t.ArtifactDir()
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(chromium(t)), chromedp.NoSandbox)
	limited, cancel := context.WithTimeout(t.Context(), browserLimit)
	t.Cleanup(cancel)
	allocator, cancel := chromedp.NewExecAllocator(limited, options...)
	t.Cleanup(cancel)
	b.ctx, cancel = chromedp.NewContext(allocator, chromedp.WithListener(b.listen))
	t.Cleanup(cancel)
	if err := errors.Join(os.MkdirAll(b.dir, 0o755), chromedp.Do(b.ctx)); err != nil { // starts it
		t.Fatal(err)
	}
	b.desktop()
	return b
}

// chromium returns the path of the browser.
func chromium(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Fatal("this test needs a browser: install chromium, on Debian with: apt-get install --no-install-recommends chromium")
	return ""
}

// listen keeps the errors and warnings of the console. A status that a page is meant to
// have is none of them.
func (b *tab) listen(event any) {
	var text string
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		text = e.ExceptionDetails.Text
	case *runtime.EventConsoleAPICalled:
		text = "console." + string(e.Type)
	case *log.EventEntryAdded:
		text = fmt.Sprintf("%s: %s %s", e.Entry.Source, e.Entry.Text, e.Entry.URL)
		if e.Entry.Level != log.EntryLevelError && e.Entry.Level != log.EntryLevelWarning || meant.MatchString(text) {
			return
		}
	default:
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.errors = append(b.errors, text)
}

// meant are a form that is refused, a customer who is suspended, and another customer's
// invoice.
var meant = regexp.MustCompile(`^network: .* status of (422 .*|403 .*|404 .*/invoices/1)$`)

func (b *tab) mustHaveNoErrors() {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.errors) > 0 {
		b.t.Errorf("the browser complains:\n%s", strings.Join(b.errors, "\n"))
	}
}

// do does the steps. It shows the page on which one can't be done.
func (b *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	for i, step := range steps {
		ctx, cancel := context.WithTimeout(b.ctx, stepLimit)
		err := chromedp.Do(ctx, step)
		cancel()
		if err != nil {
			at, _ := chromedp.Run(b.ctx, chromedp.Location())
			b.shot("failed")
			b.t.Fatalf("step %d on %s: %v", i+1, at, err)
		}
	}
}

func (b *tab) desktop() { b.do(chromedp.EmulateViewport(1000, 620), scheme("light")) }

// phone is 390 px wide, at night.
func (b *tab) phone() {
	b.do(chromedp.EmulateViewport(390, 844, chromedp.EmulateMobile), scheme("dark"))
}

func scheme(s string) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: s}},
		})
		return err
	})
}

// shot keeps what is to be seen.
func (b *tab) shot(name string) {
	b.t.Helper()
	png, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
	if err == nil {
		err = os.WriteFile(filepath.Join(b.dir, name+".png"), png, 0o644)
	}
	if err != nil {
		b.t.Errorf("screenshot %s: %v", name, err)
	}
}

// open goes to a page of a host, and waits for what it must have.
func (b *tab) open(host, path, want string) {
	b.t.Helper()
	b.do(chromedp.Navigate("http://"+net.JoinHostPort(host, b.port)+path), seen(want))
}

// seen waits for an element, which path, an XPath, names.
func seen(path string) chromedp.Action[chromedp.Void] { return chromedp.WaitVisible(path) }

// saying is the XPath of an element with that id and a text in it.
func saying(id, text string) string { return fmt.Sprintf("//*[@id=%q][contains(., %q)]", id, text) }

func click(css string) chromedp.Action[chromedp.Void] { return chromedp.Click(chromedp.CSS(css)) }

// enter replaces what a field has.
func enter(id, text string) chromedp.Action[chromedp.Void] {
	all := fmt.Sprintf("document.getElementById(%q).select()", id)
	return chromedp.Steps(chromedp.Evaluate[chromedp.Void](all), chromedp.SendKeys(chromedp.CSS("#"+id), text))
}

// evaluate returns what a script does on the page.
func evaluate[T any](b *tab, script string) T {
	b.t.Helper()
	value, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](script))
	if err != nil {
		b.t.Fatalf("%s: %v", script, err)
	}
	return value
}

func (b *tab) text() string { b.t.Helper(); return evaluate[string](b, "document.body.innerText") }

// signUp signs a company up by the form, and enters its site, which is empty.
func (b *tab) signUp(company, subdomain, plan string) {
	b.t.Helper()
	b.open("localhost", "/", `//form[@action="/signup"]`)
	b.do(enter("company", company), enter("contact", "Bill"), enter("email", "bill@"+subdomain+".example"),
		enter("subdomain", subdomain), seen(saying("availability", subdomain+".localhost can be yours")),
		click("input[name=plan][value="+plan+"]"), click("form[action='/signup'] button"),
		seen(`//a[@id="enter"]`))
	b.shot("ready-" + subdomain)
	b.do(click("#enter"))
	b.signIn(subdomain)
	b.do(seen(`//*[@id="empty"]`))
}

// signIn sends the form to sign in, which a link has filled in.
func (b *tab) signIn(subdomain string) {
	b.t.Helper()
	b.do(seen(`//form[@action="/login"]`))
	if host := evaluate[string](b, "location.hostname"); host != subdomain+".localhost" {
		b.t.Errorf("the form to sign in is on %s", host)
	}
	b.do(click("form[action='/login'] button"), seen(fmt.Sprintf("//body[@data-tenant=%q]//h1[.='Invoices']", subdomain)))
}

// add adds an invoice by the form.
func (b *tab) add(company, price, total string) {
	b.t.Helper()
	b.do(enter("company", company), enter("text0", "Chairs"), enter("quantity0", "3"), enter("price0", price),
		click("form[action='/invoices'] button"), seen(saying("total", total)), seen(fmt.Sprintf("//td[.=%q]", company)))
}

// change has the operator press a button of a customer, and waits for the next one.
func (b *tab) change(customer, button, next string) {
	b.t.Helper()
	form := func(what string) string { return "#customer-" + customer + " form[action$=" + what + "] button" }
	b.open("localhost", "/operator", fmt.Sprintf(`//tr[@id="customer-%s"]`, customer))
	b.do(click(form(button)), chromedp.WaitVisible(chromedp.CSS(form(next))))
}

// rollOut has the operator press a button under Rollout, and watches it to the end, at
// which customers have that version.
func (b *tab) rollOut(action, what, version string) {
	b.t.Helper()
	done := fmt.Sprintf(`//*[@id="rollout-state"][starts-with(., "%s: ")][contains(., "done, 0 failed") and not(contains(., "under way"))]`, what)
	b.do(click("form[action='/operator/"+action+"'] button"), seen(done), seen(`//ol[@id="events"]/li`),
		seen(fmt.Sprintf(`//tr[@id="customer-wonka"]/td[starts-with(., %q)]`, version)))
}

func TestInABrowserCompaniesSignUpAndSeeTheirOwnInvoices(t *testing.T) {
	p := start(t, database(t))
	b := browse(t, p)

	b.open("localhost", "/", `//form[@action="/signup"]`)
	b.do(enter("subdomain", "acme"), seen(saying("availability", "acme is taken")))
	b.do(enter("company", "Duff Beer"), enter("contact", "Duffman"), enter("email", "no address"), enter("subdomain", "du_ff"),
		click("form[action='/signup'] button"), seen(saying("email-help", "an address")), seen(saying("subdomain-help", "1 to 48")))
	if got := evaluate[string](b, "document.activeElement.id + ' ' + document.getElementById('company').value"); got != "email Duff Beer" {
		t.Errorf("the cursor and the company are %q", got)
	}
	b.shot("refused")

	b.signUp("Duff Beer", "duff", "shared")
	b.add("Moe's Tavern", "12,50", "37.50")
	b.shot("added")
	b.signUp("Wonka", "wonka", "own")
	if got := b.text(); strings.Contains(got, "Moe") || strings.Contains(got, "37.50") {
		t.Errorf("wonka sees:\n%s", got)
	}
	b.open("wonka.localhost", "/invoices/1", `//p[.="no such invoice"]`)
	b.showPhone("wonka.localhost", "/", `//*[@id="empty"]`)

	login := regexp.MustCompile(`/operator/login\?token=\S+`).FindString(p.output)
	b.open("localhost", login, `//form[@action="/operator/login"]`)
	b.do(click("form[action='/operator/login'] button"), seen(`//*[@id="rollout"]`))
	b.change("duff", "suspend", "resume")
	b.rollOut("rollback", "roll back", "0004_access")
	b.rollOut("migrate", "migrate", "0005_invoice_note")
	b.do(chromedp.Evaluate[chromedp.Void]("scrollTo(0, 0)"))
	b.shot("operator")
	b.open("duff.localhost", "/", `//p[contains(., "this customer is suspended")]`)
	b.shot("suspended")
	b.change("duff", "resume", "suspend")
	b.open("duff.localhost", "/", saying("total", "37.50"))
	b.showPhone("duff.localhost", "/", saying("total", "37.50"))
	b.showPhone("localhost", "/operator", `//*[@id="customer-duff"]`)
	b.showPhone("localhost", "/", `//form[@action="/signup"]`)

	key, _ := p.keys.Load("acme.localhost")
	b.open("acme.localhost", fmt.Sprint("/login?key=", key), `//form[@action="/login"]`)
	b.signIn("acme")
	b.shot("invoices")
	b.mustHaveNoErrors()
}

// showPhone opens a page on a phone, where it must fit and be dark.
func (b *tab) showPhone(host, path, want string) {
	b.t.Helper()
	b.phone()
	defer b.desktop()
	b.open(host, path, want)
	b.shot("phone-" + strings.TrimSuffix(strings.ReplaceAll(host+path, "/", "-"), "-"))
	if wide := evaluate[int](b, "document.documentElement.scrollWidth"); wide > 390 {
		b.t.Errorf("%s%s is %d px wide on a phone", host, path, wide)
	}
	back := evaluate[[]int](b, `getComputedStyle(document.body).backgroundColor.match(/\d+/g).map(Number)`)
	if len(back) < 3 || slices.Max(back[:3]) > 64 {
		b.t.Errorf("%s%s has the background %v at night", host, path, back)
	}
}
