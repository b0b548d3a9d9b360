package main_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tenantry/tenantry/catalog"
	example "github.com/tenantry/tenantry/example"
	"github.com/tenantry/tenantry/internal/pgserver"
)

// program is the example while it serves.
type program struct {
	addr   string
	output string   // up to the moment where it only serves
	keys   sync.Map // of access, by host
	token  string   // the operator's
	cancel context.CancelFunc
	ended  chan error
}

// start runs the program on a database until it says that Ctrl-C stops it.
func start(t *testing.T, database string, flags ...string) *program {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	p := &program{cancel: cancel, ended: make(chan error, 1)}
	reader, writer := io.Pipe()
	go func() {
		err := example.Run(ctx, append([]string{"-addr", "127.0.0.1:0", "-dsn", database}, flags...), writer)
		p.ended <- err
		close(p.ended)
		writer.Close()
	}()
	t.Cleanup(func() {
		if err := p.stop(); err != nil {
			t.Errorf("it ended with: %v", err)
		}
	})
	p.read(t, reader)
	go func() { _, _ = io.Copy(io.Discard, reader) }()
	return p
}

func (p *program) read(t *testing.T, reader io.Reader) {
	t.Helper()
	lines := bufio.NewScanner(reader)
	for lines.Scan() {
		p.output += lines.Text() + "\n"
		if _, addr, ok := strings.Cut(lines.Text(), "serving on http://"); ok {
			p.addr = addr
		}
		if site, key, ok := strings.Cut(strings.TrimSpace(lines.Text()), "/login?key="); ok {
			host, _, _ := strings.Cut(strings.TrimPrefix(site, "http://"), ":")
			p.keys.Store(host, key)
		}
		if _, token, ok := strings.Cut(lines.Text(), "/operator/login?token="); ok {
			p.token = token
		}
		if strings.Contains(lines.Text(), "Ctrl-C") {
			return
		}
	}
	t.Fatalf("it ended with %v after:\n%s", p.stop(), p.output)
}

// stop ends the program and returns what it returned. Later calls return nil.
func (p *program) stop() error {
	p.cancel()
	return <-p.ended
}

// do sends a request to a customer's subdomain.
func (p *program) do(t *testing.T, method, tenant, path, body string) (status int, answer string) {
	t.Helper()
	return p.ask(t, method, tenant+".localhost", path, body)
}

// ask sends a request to a host. It may be called from any goroutine.
func (p *program) ask(t *testing.T, method, host, path, body string) (status int, answer string) {
	t.Helper()
	r, err := http.NewRequestWithContext(context.Background(), method, "http://"+p.addr+path, strings.NewReader(body))
	if err != nil {
		t.Error(err)
		return 0, ""
	}
	r.Host = host
	if key, ok := p.keys.Load(host); ok {
		r.Header.Set("Authorization", "Bearer "+key.(string))
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Error(err)
		return 0, ""
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		t.Error(err)
	}
	p.remember(response.Header.Get("Location"), content)
	return response.StatusCode, string(content)
}

// remember keeps the key that the answer to a sign-up has.
func (p *program) remember(site string, content []byte) {
	var created struct{ Key string }
	if json.Unmarshal(content, &created) == nil && created.Key != "" {
		host, _, _ := strings.Cut(strings.TrimPrefix(site, "http://"), ":")
		p.keys.Store(strings.TrimSuffix(host, "/"), created.Key)
	}
}

// asOperator posts a form as the operator, who has signed in, and returns the page.
func (p *program) asOperator(t *testing.T, path string) (status int, body string) {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Jar: jar}
	response, err := client.PostForm("http://"+p.addr+"/operator/login", url.Values{"key": {p.token}})
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response, err = client.PostForm("http://"+p.addr+path, nil); err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		t.Error(err)
	}
	return response.StatusCode, string(content)
}

// letIn has the operator make a key for a customer.
func (p *program) letIn(t *testing.T, tenant string) {
	t.Helper()
	status, body := p.asOperator(t, "/operator/tenants/"+tenant+"/key")
	_, rest, _ := strings.Cut(body, "/login?key=")
	key, _, found := strings.Cut(rest, `"`)
	if status != http.StatusOK || !found {
		t.Fatalf("got %d %s", status, body)
	}
	p.keys.Store(tenant+".localhost", key)
}

// runOnce runs the program to its end.
func runOnce(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out strings.Builder
	err := example.Run(t.Context(), append([]string{"-addr", "127.0.0.1:0", "-exit"}, args...), &out)
	return out.String(), err
}

// shielded keeps the program's own choice of a server and of keys, except that it
// gets a database of its own where the environment names a server.
func shielded(t *testing.T) {
	t.Helper()
	if os.Getenv(pgserver.EnvDSN) != "" {
		t.Setenv(pgserver.EnvDSN, database(t))
		return
	}
	t.Setenv(catalog.DefaultKeysVariable, "")
}

// serverStep returns what the program prints when it has found PostgreSQL's
// programs and starts them, or has found the server that the environment names.
func serverStep() string {
	if os.Getenv(pgserver.EnvDSN) != "" {
		return "using the PostgreSQL server"
	}
	return "starting PostgreSQL "
}

// until waits for a condition.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(30 * time.Second)
	for !ok() {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("still not: %s", what)
		}
	}
}

func mustContain(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(text, p) {
			t.Errorf("%q is missing in:\n%s", p, text)
		}
	}
}

func invoiceOf(company string) string {
	return fmt.Sprintf(`{"company":%q,"lines":[{"text":"Paint","quantity":3,"price_cents":250}]}`, company)
}
