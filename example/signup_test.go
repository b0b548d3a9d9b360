package main_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/tenantry/tenantry/catalog"
)

func customerOf(subdomain, plan string) string {
	return fmt.Sprintf(`{"company":"Initech","contact":"Bill","email":"bill@initech.example","subdomain":%q,"plan":%q}`, subdomain, plan)
}

func TestWhoSignsUpIsServedByTheNextRequest(t *testing.T) {
	t.Parallel()
	dsn := database(t)
	p := start(t, dsn)
	_, port, err := net.SplitHostPort(p.addr)
	if err != nil {
		t.Fatal(err)
	}
	for plan, c := range map[string]struct {
		host string
		kind catalog.Kind
	}{
		"shared": {"localhost", catalog.OwnSchema},
		"own":    {"WWW.localhost.", catalog.OwnDatabase},
	} {
		id := "initech-" + plan
		if status, _ := p.do(t, "GET", id, "/", ""); status != http.StatusNotFound {
			t.Errorf("before: got %d", status)
		}
		status, body := p.ask(t, "POST", c.host+":"+port, "/signup", customerOf(" Initech-"+plan, plan))
		var got struct{ URL string }
		if err := json.Unmarshal([]byte(body), &got); err != nil || status != http.StatusCreated || got.URL != "http://"+id+".localhost:"+port+"/" {
			t.Fatalf("%s: got %d %s", plan, status, body)
		}
		add(t, p, id, "Chotchkie's")
		if got := list(t, p, id); len(got) != 1 || len(got["Chotchkie's"]) != 1 {
			t.Errorf("%s: got %+v", plan, got)
		}
		tenant := tenantOf(t, dsn, id)
		if tenant.Kind != c.kind || tenant.Name != "Initech" || tenant.Labels["plan"] != plan || tenant.Role == "" {
			t.Errorf("%s: got %+v", plan, tenant)
		}
		conn := connect(t, dsn)
		by, err := query(conn, "select company || ', ' || contact || ', ' || email from public.signups where id = "+tenant.Labels["signup"])
		conn.Close(context.Background())
		if err != nil || len(by) != 1 || by[0] != "Initech, Bill, bill@initech.example" {
			t.Errorf("%s: signed up by %q, %v", plan, by, err)
		}
	}
}

func TestARefusedSignUpSaysWhyAndLeavesNothing(t *testing.T) {
	t.Parallel()
	dsn := database(t)
	p := start(t, dsn)
	for name, c := range map[string]struct {
		body   string
		status int
		want   string
	}{
		"taken":             {customerOf("acme", "shared"), 409, `{"error":"subdomain: acme is taken"}`},
		"taken, other case": {customerOf("ACME", "own"), 409, "subdomain: acme is taken"},
		"reserved":          {customerOf("www", "shared"), 422, `{"error":"subdomain: www is reserved"}`},
		"the domain":        {customerOf("localhost", "shared"), 422, "subdomain: localhost is reserved"},
		"no subdomain":      {customerOf("", "shared"), 422, "subdomain: 1 to 48"},
		"underscore":        {customerOf("ini_tech", "shared"), 422, "subdomain: 1 to 48"},
		"last hyphen":       {customerOf("initech-", "shared"), 422, "subdomain: 1 to 48"},
		"domain name":       {customerOf("initech.example", "shared"), 422, "subdomain: 1 to 48"},
		"long":              {customerOf(strings.Repeat("a", 49), "shared"), 422, "subdomain: 1 to 48"},
		"plan":              {customerOf("initech", "gold"), 422, `plan: \"shared\" or \"own\" is needed`},
		"email":             {strings.Replace(customerOf("initech", "own"), "bill@", "bill", 1), 422, "email: an address"},
		"name in email":     {strings.Replace(customerOf("initech", "own"), "bill@initech.example", "Bill <b@c.example>", 1), 422, "email: an address"},
		"invisible company": {strings.Replace(customerOf("initech", "own"), "Initech", `\u200b`, 1), 422, "company: it is 1 to 200"},
		"several at once":   {`{}`, 422, "company: 1 to 200 printable characters are needed; contact: 1 to 200 printable characters are needed; email: "},
		"no JSON":           {"company=Initech", 400, "not the JSON of a sign-up: invalid character"},
		"unknown field":     {`{"firm":"P"}`, 400, `unknown field \"firm\"`},
	} {
		t.Run(name, func(t *testing.T) {
			status, body := p.ask(t, "POST", "localhost", "/signup", c.body)
			if status != c.status || !strings.Contains(body, c.want) {
				t.Errorf("got %d %s, want %d %s", status, body, c.status, c.want)
			}
		})
	}
	mustHaveSignups(t, dsn, "2")
}

// mustHaveSignups looks at the service's own records and at the catalog.
func mustHaveSignups(t *testing.T, dsn, want string) {
	t.Helper()
	conn := connect(t, dsn)
	defer conn.Close(context.Background())
	for _, table := range []string{"public.signups", "tenantry.tenants"} {
		if got, err := query(conn, "select count(*)::text from "+table); err != nil || got[0] != want {
			t.Errorf("%s has %v rows, %v, want %s", table, got, err, want)
		}
	}
}

func TestOfTwentySignUpsOfOneSubdomainOneWins(t *testing.T) {
	t.Parallel()
	dsn := database(t)
	p := start(t, dsn)
	var mu sync.Mutex // guards got
	got := map[int]int{}
	var group sync.WaitGroup
	for range 20 {
		group.Go(func() {
			status, _ := p.ask(t, "POST", "localhost", "/signup", customerOf("initech", "shared"))
			mu.Lock()
			defer mu.Unlock()
			got[status]++
		})
	}
	group.Wait()
	if got[http.StatusCreated] != 1 || got[http.StatusConflict] != 19 {
		t.Errorf("got %v, want 201 once and 409 for the others", got)
	}
	add(t, p, "initech", "Chotchkie's")
	mustHaveSignups(t, dsn, "3")
}

func TestWithoutRoomASignUpIsRefused(t *testing.T) {
	t.Parallel()
	dsn := database(t)
	p := start(t, dsn)
	operate(t, dsn, func(ctx context.Context, c *catalog.Catalog) error {
		full := true
		return c.ChangeServer(ctx, catalog.Main, catalog.ServerChange{Full: &full})
	})
	status, body := p.ask(t, "POST", "localhost", "/signup", customerOf("initech", "own"))
	if status != http.StatusServiceUnavailable || !strings.Contains(body, "no room") {
		t.Errorf("got %d %s", status, body)
	}
	mustHaveSignups(t, dsn, "2")
}

// hook makes PostgreSQL run a line of PL/pgSQL before a table is made.
func hook(t *testing.T, dsn, line string) {
	t.Helper()
	execute(t, dsn, "create function hook() returns event_trigger language plpgsql as $$ begin "+line+"; end $$;"+
		"create event trigger hook on ddl_command_start when tag in ('CREATE TABLE') execute function hook()")
}

func TestAFailedSignUpTellsTheClientNothingAndTheNextStartMendsIt(t *testing.T) {
	t.Parallel()
	dsn := database(t)
	p := start(t, dsn)
	hook(t, dsn, "raise exception 'the disk is full'")
	status, body := p.ask(t, "POST", "localhost", "/signup", customerOf("initech", "shared"))
	if status != http.StatusServiceUnavailable || body != `{"error":"the account could not be made yet: we keep the subdomain for you, please try again"}` {
		t.Errorf("got %d %s", status, body)
	}
	if status, _ := p.do(t, "GET", "initech", "/", ""); status != http.StatusNotFound {
		t.Errorf("half a customer: got %d", status)
	}
	if err := p.stop(); err != nil {
		t.Fatal(err)
	}
	p = start(t, dsn)
	mustContain(t, p.output, "not all of them: ")
	if err := p.stop(); err != nil {
		t.Fatal(err)
	}
	execute(t, dsn, "drop event trigger hook")
	p = start(t, dsn)
	p.letIn(t, "initech") // whoever signed up has seen no key
	add(t, p, "initech", "Chotchkie's")
	mustHaveSignups(t, dsn, "3")
}

func TestWhoseSignUpHasFailedMayTryAgain(t *testing.T) {
	t.Parallel()
	dsn := database(t)
	p := start(t, dsn)
	hook(t, dsn, "raise exception 'the disk is full'")
	body := customerOf("initech", "shared")
	if status, answer := p.ask(t, "POST", "localhost", "/signup", body); status != http.StatusServiceUnavailable {
		t.Errorf("got %d %s", status, answer)
	}
	execute(t, dsn, "drop event trigger hook")
	stranger := strings.Replace(body, "bill@", "milton@", 1)
	if status, answer := p.ask(t, "POST", "localhost", "/signup", stranger); status != http.StatusConflict {
		t.Errorf("a stranger got %d %s", status, answer)
	}
	if status, answer := p.ask(t, "POST", "localhost", "/signup", body); status != http.StatusCreated {
		t.Errorf("got %d %s", status, answer)
	}
	add(t, p, "initech", "Chotchkie's")
	mustHaveSignups(t, dsn, "3")
}

func TestASignUpUnderWayIsFinishedBeforeTheProgramEnds(t *testing.T) {
	t.Parallel()
	dsn := database(t)
	p := start(t, dsn)
	hook(t, dsn, "perform pg_advisory_xact_lock_shared(1)")
	gate := connect(t, dsn)
	defer gate.Close(context.Background())
	if _, err := gate.Exec(t.Context(), "select pg_advisory_lock(1)"); err != nil {
		t.Fatal(err)
	}
	var status int
	var group sync.WaitGroup
	group.Go(func() { status, _ = p.ask(t, "POST", "localhost", "/signup", customerOf("initech", "shared")) })
	until(t, "the sign-up is at the gate", func() bool {
		n, err := query(gate, "select pid::text from pg_locks where locktype = 'advisory' and objid = 1 and not granted")
		return err == nil && len(n) == 1
	})
	p.cancel()
	until(t, "nobody listens", func() bool {
		c, err := net.Dial("tcp", p.addr)
		if err == nil {
			c.Close()
		}
		return err != nil
	})
	select {
	case err := <-p.ended:
		t.Fatalf("it ended under a sign-up: %v", err)
	default:
	}
	if _, err := gate.Exec(t.Context(), "select pg_advisory_unlock(1)"); err != nil {
		t.Fatal(err)
	}
	group.Wait()
	if err := <-p.ended; err != nil || status != http.StatusCreated {
		t.Errorf("got %d, %v", status, err)
	}
	execute(t, dsn, "drop event trigger hook")
	p = start(t, dsn)
	p.letIn(t, "initech")
	add(t, p, "initech", "Chotchkie's")
}
