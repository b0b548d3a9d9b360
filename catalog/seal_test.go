package catalog_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tenantry/tenantry/catalog"
	"github.com/tenantry/tenantry/internal/pgserver/dsn"
	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
)

// record is a text that many may write to.
type record struct {
	mu   sync.Mutex // guards text
	text bytes.Buffer
}

func (r *record) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.Write(p)
}

func (r *record) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.String()
}

// logger writes everything to r.
func (r *record) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(r, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// overheard returns server, a connection string, by way of a proxy that writes
// down what clients send.
func overheard(t *testing.T, server string, to io.Writer) string {
	t.Helper()
	network, target, err := dsn.Address(server)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		for client, err := l.Accept(); err == nil; client, err = l.Accept() {
			back, err := net.Dial(network, target)
			if err != nil {
				_ = client.Close()
				continue
			}
			running.Go(func() {
				_, _ = io.Copy(back, io.TeeReader(client, to)) // until the client ends it
				_ = back.Close()
			})
			running.Go(func() {
				_, _ = io.Copy(client, back)
				_ = client.Close()
			})
		}
	})
	t.Cleanup(func() { _ = l.Close(); running.Wait() })
	through, err := dsn.WithAddress(server, l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return through
}

// passwordOf returns the password under which the tenant's statements run.
func passwordOf(t testing.TB, c *catalog.Catalog, id string) (password string, cfg *pgx.ConnConfig) {
	t.Helper()
	p, err := c.Strategy().Place(t.Context(), nil, parse(t, id))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Lease.Release()
	cfg = p.Pool.Config().ConnConfig
	if len(cfg.Password) < 32 {
		t.Fatalf("the password has %d characters", len(cfg.Password))
	}
	return cfg.Password, cfg
}

// dump returns everything in the master's tables, and all the server's roles.
func dump(t testing.TB, pool *pgxpool.Pool) string {
	t.Helper()
	var all strings.Builder
	for _, table := range []string{"tenantry.tenants", "tenantry.hosts", "tenantry.servers", "tenantry.databases", "tenantry.identity", "tenantry.migrations", "pg_authid"} {
		all.WriteString(one[string](t, pool, "select coalesce(string_agg(r::text, e'\\n'), '') from "+table+" r"))
	}
	return all.String()
}

func TestPasswordsAreNowhereToBeSeen(t *testing.T) {
	t.Parallel()
	direct := pgtest.Database(t)
	var sent, logged record
	through := overheard(t, direct, &sent)
	c := open(t, through, catalog.WithLogger(logged.logger()), catalog.WithRoles())
	tenant := create(t, c, catalog.New{ID: "acme", Kind: catalog.OwnDatabase})
	create(t, c, catalog.New{ID: "globex"})
	if !strings.Contains(sent.String(), "SCRAM-SHA-256$4096:") {
		t.Error("no verifier was sent, or nothing was overheard")
	}
	wire := sent.String() // before the tenant logs in
	password, login := passwordOf(t, c, "acme")
	pool := admin(t, direct)
	stored := one[string](t, pool, "select rolpassword from pg_authid where rolname = $1", tenant.Role)
	if !strings.HasPrefix(stored, "SCRAM-SHA-256$") {
		t.Errorf("the server stores %q", stored)
	}
	hexed := hex.EncodeToString([]byte(password))
	mustHide(t, "what was sent", wire, password)
	mustHide(t, "the log", logged.String(), password, hexed)
	mustHide(t, "the database", dump(t, pool), password, hexed)
	if !strings.Contains(logged.String(), "migrated") {
		t.Error("nothing was logged at debug level")
	}
	mustPrintWithout(t, "the tenant", tenant, password)

	conn, err := pgx.ConnectConfig(t.Context(), login) // the server asks for the password
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.Close(t.Context()); err != nil {
		t.Error(err)
	}
	wrong := login.Copy()
	wrong.Password += "x"
	if _, err := pgx.ConnectConfig(t.Context(), wrong); err == nil {
		t.Fatal("the server lets anybody in: this test proves nothing")
	}
}

// secretDSN is a connection string with a password of its own on dsn's server.
func secretDSN(t testing.TB, server, role, password string) string {
	t.Helper()
	pool := admin(t, server)
	if _, err := pool.Exec(t.Context(), fmt.Sprintf("create role %s superuser login password '%s'", role, password)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := pool.Exec(t.Context(), "drop role "+role); err != nil && t.Context().Err() == nil {
			t.Error(err)
		}
	})
	cfg := pool.Config().ConnConfig
	return dsn.URL(net.JoinHostPort(cfg.Host, fmt.Sprint(cfg.Port)), role, password, cfg.Database)
}

func TestConnectionStringsAreNowhereToBeSeen(t *testing.T) {
	t.Parallel()
	other := pgtest.Server(t).DSN()
	master := pgtest.Database(t)
	const hidden = "pass-of-the-other-server"
	secret := secretDSN(t, other, "somebody", hidden)
	var logged record
	c := open(t, master, catalog.WithLogger(logged.logger()), catalog.WithKeys(catalog.FixedKeys{secretKey(t)}))
	masterPassword := admin(t, master).Config().ConnConfig.Password
	secrets := []string{hidden, hex.EncodeToString([]byte(hidden)), "somebody:pass", masterPassword}

	n := catalog.NewServer{Name: "b", ConnString: secret, Capacity: 10}
	mustPrintWithout(t, "a new server", n, secrets...)
	mustPrintWithout(t, "its address", &n, secrets...)
	change := catalog.ServerChange{ConnString: &secret}
	mustPrintWithout(t, "a change", change, secrets...)
	mustPrintWithout(t, "its address", &change, secrets...)
	mustPrintWithout(t, "the catalog", c, secrets...)
	for _, verb := range []string{"%v", "%+v", "%#v"} {
		mustHide(t, "a hidden field", fmt.Sprintf(verb, struct{ c *catalog.Catalog }{c}), secrets...)
	}
	mustPrintWithout(t, "the strategy", c.Strategy(), secrets...)
	logged.logger().Info("all", "new", n, "change", change, "catalog", c)

	for range 2 { // the second time it is taken
		err := c.AddServer(t.Context(), n)
		mustPrintWithout(t, "the error", err, secrets...)
	}
	create(t, c, catalog.New{ID: "acme", Server: "b"})
	wrong := strings.Replace(secret, hidden, hidden+"-wrong", 1)
	malformed := strings.Replace(secret, "somebody:", "somebody:%zz", 1)
	for what, err := range map[string]error{
		"add wrong":        c.AddServer(t.Context(), catalog.NewServer{Name: "c", ConnString: wrong}),
		"add malformed":    c.AddServer(t.Context(), catalog.NewServer{Name: "c", ConnString: malformed}),
		"add negative":     c.AddServer(t.Context(), catalog.NewServer{Name: "c", ConnString: secret, Capacity: -1}),
		"change wrong":     c.ChangeServer(t.Context(), "b", catalog.ServerChange{ConnString: &wrong}),
		"change malformed": c.ChangeServer(t.Context(), "b", catalog.ServerChange{ConnString: &malformed}),
		"change main":      c.ChangeServer(t.Context(), catalog.Main, catalog.ServerChange{ConnString: &secret}),
		"change":           errors.Join(errors.New("none"), c.ChangeServer(t.Context(), "b", change)),
	} {
		if err == nil {
			t.Errorf("%s: no error", what)
			continue
		}
		mustPrintWithout(t, what, err, secrets...)
	}
	for _, bad := range []string{
		wrong, malformed, "host=127.0.0.1 port=1 password=" + hidden,
		"password='" + hidden + " host=a", "postgres://somebody:" + hidden + "@[::1/x", "sslmode=" + hidden, "port=" + hidden, hidden,
	} {
		_, err := catalog.Open(t.Context(), bad, catalog.WithLogger(logged.logger()))
		if err == nil {
			t.Errorf("%s is opened", bad)
			continue
		}
		mustPrintWithout(t, "the error of Open", err, secrets...)
	}
	servers, err := c.Servers(t.Context())
	if err != nil || len(servers) != 2 {
		t.Errorf("got %v, %v", servers, err)
	}
	mustPrintWithout(t, "the servers", servers, secrets...)
	mustHide(t, "the log", logged.String(), secrets...)
	mustHide(t, "the database", dump(t, admin(t, master)), secrets[:3]...)
}

// fleet is a master with a tenant in a schema, two with databases, and one in a
// schema of another server.
//
// The first of keys seals; with all of them the tenants are dropped in the end.
func fleet(t *testing.T, keys ...catalog.Key) (master string, pool *pgxpool.Pool) {
	t.Helper()
	other := pgtest.Database(t)
	master = pgtest.Database(t)
	c := open(t, master, catalog.WithKeys(catalog.FixedKeys(keys)))
	if err := c.AddServer(t.Context(), catalog.NewServer{Name: "b", ConnString: other}); err != nil {
		t.Fatal(err)
	}
	create(t, c, catalog.New{ID: "schema", Server: catalog.Main})
	create(t, c, catalog.New{ID: "own", Server: catalog.Main, Kind: catalog.OwnDatabase})
	create(t, c, catalog.New{ID: "own2", Server: catalog.Main, Kind: catalog.OwnDatabase})
	create(t, c, catalog.New{ID: "other", Server: "b"})
	return master, admin(t, master)
}

// bare opens a catalog that leaves its tenants to another one.
func bare(t *testing.T, dsn string, keys ...catalog.Key) *catalog.Catalog {
	t.Helper()
	c, err := catalog.Open(t.Context(), dsn, catalog.WithKeys(catalog.FixedKeys(keys)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// placed returns the error of placing a tenant.
func placed(t testing.TB, c *catalog.Catalog, id string) error {
	t.Helper()
	p, err := c.Strategy().Place(t.Context(), nil, parse(t, id))
	if err == nil && p.Lease != nil {
		p.Lease.Release()
	}
	return err
}

// placeErrors tries to place all tenants of a fleet.
func placeErrors(t *testing.T, c *catalog.Catalog) map[string]error {
	t.Helper()
	errs := map[string]error{}
	for _, id := range []string{"schema", "own", "own2", "other"} {
		errs[id] = placed(t, c, id)
		if _, err := c.Lookup(t.Context(), idRef(id)); err != nil {
			t.Errorf("lookup %s: %v", id, err)
		}
	}
	return errs
}

func TestOnlyTenantsThatNeedAKeyMissIt(t *testing.T) {
	t.Parallel()
	key := secretKey(t)
	master, _ := fleet(t, key)
	another, err := catalog.NewKey("2027", bytes.Repeat([]byte("x"), 32))
	if err != nil {
		t.Fatal(err)
	}
	broken := errors.New("the vault is shut")
	for name, test := range map[string]struct {
		keys catalog.Keys
		want string // in the errors
	}{
		"the right key":    {catalog.FixedKeys{testKey(t, "new"), key}, ""},
		"no key":           {catalog.FixedKeys{}, `key "2027"`},
		"another key":      {catalog.FixedKeys{testKey(t, "new")}, `key "2027"`},
		"a changed key":    {catalog.FixedKeys{another}, "does not open"},
		"a ring that errs": {brokenKeys{broken}, broken.Error()},
	} {
		c, err := catalog.Open(t.Context(), master, catalog.WithKeys(test.keys))
		if err != nil {
			t.Fatal(err)
		}
		for id, err := range placeErrors(t, c) {
			switch {
			case id == "schema" || test.want == "":
				if err != nil {
					t.Errorf("%s: tenant %s: %v", name, id, err)
				}
			default:
				mustSay(t, err, test.want)
				mustHide(t, "the error", err.Error())
			}
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestAWrongRingOfFixedKeysIsRefusedAtOnce(t *testing.T) {
	t.Parallel()
	key := secretKey(t)
	for want, keys := range map[string]catalog.FixedKeys{"two keys": {key, key}, "NewKey": {{}, key}} {
		_, err := catalog.Open(t.Context(), pgtest.Database(t), catalog.WithKeys(keys))
		mustSay(t, err, want)
	}
}

type brokenKeys struct{ err error }

func (k brokenKeys) Keys(ctx context.Context) ([]catalog.Key, error) { return nil, k.err }

func TestWithoutAKeyNothingIsSealed(t *testing.T) {
	t.Parallel()
	c, _, dsn := service(t, catalog.WithKeys(catalog.FixedKeys{}))
	create(t, c, catalog.New{ID: "acme"})
	_, err := c.Create(t.Context(), catalog.New{ID: "globex", Kind: catalog.OwnDatabase})
	mustSay(t, err, catalog.DefaultKeysVariable, "openssl rand -base64 32")
	mustSay(t, c.AddServer(t.Context(), catalog.NewServer{Name: "b", ConnString: pgtest.DSN(t)}), catalog.DefaultKeysVariable)
	_, err = c.Reseal(t.Context())
	mustSay(t, err, catalog.DefaultKeysVariable)
	if got := one[string](t, admin(t, dsn), "select string_agg(id, ',') from tenantry.tenants"); got != "acme" {
		t.Errorf("tenants are %s", got)
	}
}

func TestASecretOpensInItsOwnRowOnly(t *testing.T) {
	t.Parallel()
	key := secretKey(t)
	master, pool := fleet(t, key)
	original := one[[]byte](t, pool, "select password from tenantry.tenants where id = 'own'")
	altered := bytes.Clone(original)
	altered[len(altered)-1] ^= 1
	oldID := bytes.Replace(original, []byte("2027"), []byte("2026"), 1)
	for name, test := range map[string]struct {
		sealed []byte
		want   string
	}{
		"another tenant's": {one[[]byte](t, pool, "select password from tenantry.tenants where id = 'own2'"), "another row"},
		"a server's":       {one[[]byte](t, pool, "select conn from tenantry.servers where name = 'b'"), "another row"},
		"a bit altered":    {altered, "altered"},
		"another key's id": {oldID, `key "2026"`},
		"empty":            {[]byte{}, "cut off"},
		"one byte":         {original[:1], "cut off"},
		"no nonce":         {original[:6], "cut off"},
		"half a nonce":     {original[:10], "cut off"},
		"half a tag":       {original[:len(original)-8], "altered"},
		"plain text":       {[]byte("secret"), "cut off"},
		"a long id":        {[]byte{1, 255, 'a'}, "cut off"},
		"another version":  {append([]byte{2}, original[1:]...), "version"},
	} {
		mustExec(t, pool, "update tenantry.tenants set password = $1 where id = 'own'", test.sealed)
		c, err := catalog.Open(t.Context(), master, catalog.WithKeys(catalog.FixedKeys{key}))
		if err != nil {
			t.Fatal(err)
		}
		for id, err := range placeErrors(t, c) {
			if id != "own" {
				if err != nil {
					t.Errorf("%s: tenant %s: %v", name, id, err)
				}
				continue
			}
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%s: got %v, want an error with %q", name, err, test.want)
			}
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	mustExec(t, pool, "update tenantry.tenants set password = $1 where id = 'own'", original)
}

func mustExec(t testing.TB, pool *pgxpool.Pool, sql string, args ...any) {
	t.Helper()
	if _, err := pool.Exec(context.Background(), sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func TestAServersSecretOpensInItsOwnRowOnly(t *testing.T) {
	t.Parallel()
	servers := map[string]string{"b": pgtest.Database(t), "c": pgtest.Database(t)}
	c, _, master := service(t)
	for name, dsn := range servers {
		if err := c.AddServer(t.Context(), catalog.NewServer{Name: name, ConnString: dsn}); err != nil {
			t.Fatal(err)
		}
		create(t, c, catalog.New{ID: "on-" + name, Server: name})
	}
	pool := admin(t, master)
	own := one[[]byte](t, pool, "select conn from tenantry.servers where name = 'b'")
	mustExec(t, pool, "update tenantry.servers set conn = (select conn from tenantry.servers where name = 'c') where name = 'b'")
	eventually(t, "the change is seen", func() bool {
		err := placed(t, c, "on-b")
		return err != nil && strings.Contains(err.Error(), "another row")
	})
	if err := placed(t, c, "on-c"); err != nil {
		t.Error(err)
	}
	mustExec(t, pool, "update tenantry.servers set conn = $1 where name = 'b'", own)
}
