//go:build integration

package main_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	vegeta "github.com/tsenart/vegeta/v12/lib"
	"golang.org/x/sync/errgroup"

	"github.com/tenantry/tenantry/catalog"
	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
)

const (
	loadTime    = "TENANTRY_LOAD" // how long, such as 10s
	loadSites   = 50
	loadRate    = 200 // requests a second
	loadWorkers = 32
	loadBudget  = 60 // of connections: connsPerServer
)

// load is a program, and what is done to it.
type load struct {
	t        *testing.T
	program  *program
	port     string
	client   *http.Client // for all hosts; signed in as operator
	sites    []*loadSite
	byHost   map[string]*loadSite
	next     atomic.Int64
	total    vegeta.Metrics
	highest  level // of each
	suspends int
	rollouts int
	comers   int
}

// toProgram sends requests to the program, whatever their host. So each connection
// carries those of many customers, one after another.
type toProgram struct {
	addr string
	*http.Transport
}

func (p toProgram) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Host, r.URL.Host = r.URL.Host, p.addr
	return p.Transport.RoundTrip(r)
}

func newLoad(t *testing.T, p *program) *load {
	t.Helper()
	_, port, err := net.SplitHostPort(p.addr)
	if err != nil {
		t.Fatal(err)
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{MaxIdleConnsPerHost: loadWorkers}
	t.Cleanup(transport.CloseIdleConnections)
	client := &http.Client{
		Transport: toProgram{p.addr, transport}, Jar: jar, Timeout: 30 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return &load{t: t, program: p, port: port, client: client, byHost: map[string]*loadSite{}}
}

func (l *load) url(host, path string) string {
	return "http://" + net.JoinHostPort(host, l.port) + path
}

// send returns the answer as vegeta does.
func (l *load) send(method, host, path, kind, key, body string) (*vegeta.Result, error) {
	r, err := http.NewRequestWithContext(context.Background(), method, l.url(host, path), strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", kind)
	if key != "" {
		r.Header.Set("Authorization", "Bearer "+key)
	}
	begun := time.Now()
	response, err := l.client.Do(r)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	return &vegeta.Result{
		Method: method, Code: uint16(response.StatusCode), Error: response.Status, Body: content,
		Timestamp: begun, Latency: time.Since(begun),
	}, err
}

// signUp makes a customer with one invoice.
func (l *load) signUp(name, plan string) (*loadSite, error) {
	s := &loadSite{name: name, marker: "marker-" + name + "-" + strings.ToLower(rand.Text())}
	r, err := l.send("POST", "localhost", "/signup", "application/json", "", customerOf(name, plan))
	if err != nil {
		return nil, err
	}
	var opened struct{ URL, Key string }
	if err := json.Unmarshal(r.Body, &opened); err != nil || r.Code != http.StatusCreated || opened.URL != l.url(s.host(), "/") {
		return nil, fmt.Errorf("the sign-up of %s was answered with %d %s", name, r.Code, r.Body)
	}
	s.key = opened.Key
	return s, l.visit(s, "POST", invoiceOf(s.marker))
}

// visit sends one request for the invoices of a customer.
func (l *load) visit(s *loadSite, method, body string) error {
	r, err := l.send(method, s.host(), "/invoices", "application/json", s.key, body)
	if err != nil {
		return err
	}
	if wrong := s.judge(r); wrong != "" {
		return fmt.Errorf("%s /invoices of %s: status %d %s", method, s.name, r.Code, wrong)
	}
	return nil
}

// signUpAll makes the customers under load, every fifth with a database of its own.
func (l *load) signUpAll() {
	l.t.Helper()
	var group errgroup.Group
	group.SetLimit(4)
	l.sites = make([]*loadSite, loadSites)
	for i := range l.sites {
		plan := "shared"
		if i%5 == 0 {
			plan = "own"
		}
		group.Go(func() (err error) {
			l.sites[i], err = l.signUp(fmt.Sprintf("load-%02d", i), plan)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		l.t.Fatal(err)
	}
	for _, s := range l.sites {
		l.byHost[s.host()] = s
	}
}

// target goes from customer to customer: a tenth of the requests are invoices, the
// others ask for lists and pages.
func (l *load) target(t *vegeta.Target) error {
	n := int(l.next.Add(1))
	s := l.sites[n%len(l.sites)]
	t.Method, t.URL = http.MethodGet, l.url(s.host(), "/invoices")
	t.Header = http.Header{"Authorization": {"Bearer " + s.key}}
	switch kind := (n + n/len(l.sites)) % 10; {
	case kind == 0:
		t.Method, t.Body = http.MethodPost, []byte(invoiceOf(s.marker))
	case kind < 5:
		t.URL = l.url(s.host(), "/")
		t.Header.Set("Accept", "text/html")
	}
	return nil
}

// attack sends requests until the time is over, and looks at each answer.
func (l *load) attack(during time.Duration) {
	a := vegeta.NewAttacker(vegeta.Client(l.client), vegeta.Workers(loadWorkers), vegeta.MaxWorkers(loadWorkers))
	said := 0
	for r := range a.Attack(l.target, vegeta.Rate{Freq: loadRate, Per: time.Second}, during, "") {
		l.total.Add(r)
		at, err := url.Parse(r.URL)
		if err != nil {
			l.t.Error(err)
			continue
		}
		if wrong := l.byHost[at.Hostname()].judge(r); wrong != "" {
			if said++; said <= 10 { // else they bury the rest
				l.t.Errorf("%s %s: status %d %s: %.300s", r.Method, r.URL, r.Code, wrong, r.Body)
			}
		}
	}
	if said > 10 {
		l.t.Errorf("%d answers were wrong", said)
	}
}

// duration returns how long the load lasts.
func duration(t *testing.T) time.Duration {
	t.Helper()
	text := os.Getenv(loadTime)
	if text == "" {
		return time.Minute
	}
	d, err := time.ParseDuration(text)
	if err == nil && d < time.Second {
		err = errors.New("a second is the least")
	}
	if err != nil {
		t.Fatalf("%s: %v", loadTime, err)
	}
	return d
}

func TestLoadOnFiftySubdomainsWhileCustomersComeAndGo(t *testing.T) {
	during := duration(t)
	dsn := pgtest.DatabaseOn(t, pgtest.Server(t).DSN())
	l := newLoad(t, start(t, dsn))
	tenants, conn := openCatalog(t, dsn), connect(t, dsn)
	defer tenants.Close()
	defer conn.Close(context.Background())
	l.signIn()
	l.signUpAll()
	l.run(during/6, tenants, conn)
	before := l.rest(conn)
	l.run(during-during/6, tenants, conn)
	after := l.rest(conn)
	l.report(before, after)
	mustBeLevel(t, before, after, l.highest)
}

// run sends requests while customers come, go, and change.
func (l *load) run(during time.Duration, tenants *catalog.Catalog, conn *pgx.Conn) {
	l.t.Helper()
	ctx, cancel := context.WithCancel(l.t.Context())
	defer cancel()
	var group errgroup.Group
	group.Go(func() error { return l.suspend(ctx) })
	group.Go(func() error { return l.migrate(ctx) })
	group.Go(func() error { return l.come(ctx, tenants) })
	group.Go(func() error { return l.watch(ctx, conn) })
	l.attack(during)
	cancel()
	if err := group.Wait(); err != nil {
		l.t.Error(err)
	}
}

func (l *load) report(before, after level) {
	l.total.Close()
	l.t.Logf("%d requests to %d subdomains, %.0f a second; p50 %v, p99 %v, the longest %v; statuses %v",
		l.total.Requests, len(l.sites), l.total.Rate, l.total.Latencies.P50, l.total.Latencies.P99, l.total.Latencies.Max, l.total.StatusCodes)
	l.t.Logf("meanwhile: %d suspended and resumed, the last migration of all rolled back and applied again %d times, %d signed up and dropped",
		l.suspends, l.rollouts, l.comers)
	l.t.Logf("at rest after a sixth of the time: %v", before)
	l.t.Logf("at rest in the end:                %v", after)
	l.t.Logf("the most of each under load:       %v", l.highest)
}
