package plugin_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"gorm.io/gorm"

	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
	"github.com/tenantry/tenantry/plugin"
	"github.com/tenantry/tenantry/scope"
)

// twoDatabases returns a database whose tenants a and b have one of their own
// each.
func twoDatabases(t testing.TB, cfg *gorm.Config, opts ...plugin.PoolsOption) (*gorm.DB, *plugin.Plugin) {
	t.Helper()
	where := map[string]plugin.Database{"a": {Server: pgtest.Database(t)}, "b": {Server: pgtest.Database(t)}}
	db, p := open(t, pgtest.Database(t), cfg, plugin.ByDatabase(func(_ context.Context, t scope.Tenant) (plugin.Database, error) {
		d, ok := where[t.String()]
		if !ok {
			return d, errNobody
		}
		return d, nil
	}, opts...))
	for id := range where {
		seed(t, db, id)
	}
	return db, p
}

var errNobody = errors.New("nobody of that name")

func TestEveryEntryPointByDatabase(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]*gorm.Config{"plain": {}, "prepared": {PrepareStmt: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db, _ := twoDatabases(t, cfg)
			for _, e := range entryPoints() {
				for _, id := range []string{"a", "b"} {
					seen, err := e.run(as(t, id), db)
					if err != nil {
						t.Errorf("%s for %s: %v", e.name, id, err)
					}
					mustBeOwn(t, e.name, id, seen)
				}
				if _, err := e.run(as(t, "ghost"), db); err == nil {
					t.Errorf("%s works for a tenant without a database", e.name)
				}
				if _, err := e.run(t.Context(), db); !errors.Is(err, scope.ErrNone) {
					t.Errorf("%s without a scope: %v", e.name, err)
				}
			}
		})
	}
}

// TestOneTextReachesTwoDatabases: GORM's cache of prepared statements knows them
// by their text alone.
func TestOneTextReachesTwoDatabases(t *testing.T) {
	t.Parallel()
	db, p := twoDatabases(t, &gorm.Config{PrepareStmt: true}, plugin.WithBudget(1))
	var wg sync.WaitGroup
	for i := range 8 {
		id := []string{"a", "b"}[i%2]
		wg.Go(func() {
			for range 20 {
				if got := title(t, db, id); got != id {
					t.Errorf("%s sees %q", id, got)
				}
			}
		})
	}
	wg.Wait()
	s := p.Stats()
	if len(s.Servers) != 1 || s.Servers[0].Open > 1 || s.Servers[0].Evictions == 0 || s.Servers[0].InUse != 0 {
		t.Errorf("%+v", s.Servers)
	}
}

func TestSharedIsTheBaseDatabase(t *testing.T) {
	t.Parallel()
	db, _ := twoDatabases(t, nil)
	shared := db.WithContext(scope.Shared(t.Context()))
	if err := shared.Exec("create table plans (name text)").Error; err != nil {
		t.Fatal(err)
	}
	var schema string
	if err := shared.Raw("select table_schema from information_schema.tables where table_name = 'plans'").Scan(&schema).Error; err != nil || schema != "public" {
		t.Errorf("plans are in schema %q: %v", schema, err)
	}
	mustSay(t, db.WithContext(as(t, "a")).Exec("select * from plans").Error, "42P01")
}

func TestTransactionsAndRowsKeepTheirPool(t *testing.T) {
	t.Parallel()
	db, p := twoDatabases(t, nil, plugin.WithBudget(2), plugin.WithConnsPerDatabase(1))
	tx := db.WithContext(as(t, "a")).Begin()
	if got := title(t, db, "b"); got != "b" {
		t.Errorf("b sees %q", got)
	}
	var seen string
	if err := tx.Raw("select title from invoices where id = 1").Scan(&seen).Error; err != nil || seen != "a" {
		t.Errorf("a sees %q: %v", seen, err)
	}
	if s := p.Stats().Servers[0]; s.InUse != 1 || s.Open != 2 {
		t.Errorf("%+v", s)
	}
	if err := tx.Commit().Error; err != nil {
		t.Fatal(err)
	}
	if s := p.Stats().Servers[0]; s.InUse != 0 {
		t.Errorf("%+v", s)
	}
}

func TestClosingThePluginClosesTheStrategy(t *testing.T) {
	t.Parallel()
	var opened sockets
	db, p := twoDatabases(t, nil, plugin.WithDatabaseConfig(opened.count))
	pool, err := db.DB()
	if err != nil {
		t.Fatal(err)
	}
	if opened.now.Load() == 0 {
		t.Error("nothing was open")
	}
	if err := pool.Close(); err != nil {
		t.Error(err)
	}
	if n := opened.now.Load(); n != 0 {
		t.Errorf("%d sockets are left", n)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}

func TestTheContextEndsTheWaitForADatabase(t *testing.T) {
	t.Parallel()
	hung := silent(t)
	db, p := open(t, pgtest.Database(t), nil, plugin.ByDatabase(func(context.Context, scope.Tenant) (plugin.Database, error) { return hung, nil }))
	ctx, cancel := context.WithCancel(as(t, "a"))
	result := make(chan error)
	go func() { result <- db.WithContext(ctx).Exec("select 1").Error }()
	eventually(t, "it waits", func() bool { s := p.Stats().Servers; return len(s) == 1 && s[0].Waiting == 1 })
	cancel()
	err := <-result
	mustBe(t, err, context.Canceled)
	mustSay(t, err, `"a"`, "connect to 127.0.0.1:", "/app as someone")
}

func TestWhatADatabaseInheritsFromItsServer(t *testing.T) {
	t.Parallel()
	server := "postgres://owner:pw@DB.example.com:5433/main?sslmode=disable"
	for _, tt := range []struct {
		d    plugin.Database
		want string
	}{
		{plugin.Database{Server: server}, "db.example.com:5433/main as owner"},
		{plugin.Database{Server: server, Name: "acme"}, "db.example.com:5433/acme as owner"},
		{plugin.Database{Server: server, User: "acme", Password: "x"}, "db.example.com:5433/main as acme"},
		{plugin.Database{Server: "host=a,b port=1,2 user=u dbname=d password=pw", Name: "n"}, "a:1,b:2/n as u"},
		{plugin.Database{Server: "host=/run/PG user=u password=pw"}, "/run/PG:5432/u as u"},
	} {
		if got := tt.d.String(); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
	pools := newPools(t)
	_, err := pools.Place(t.Context(), plugin.Database{})
	mustSay(t, err, "no Server")
}

// TestAnotherUserHasNotTheServersPassword: the password of the connection string
// belongs to its user.
func TestAnotherUserHasNotTheServersPassword(t *testing.T) {
	t.Parallel()
	var passwords []string
	pools := newPools(t, plugin.WithDatabaseConfig(func(c *pgxpool.Config) error {
		passwords = append(passwords, c.ConnConfig.User+":"+c.ConnConfig.Password)
		return errors.New("seen")
	}))
	server := "postgres://owner:pw@localhost/main?sslmode=disable"
	for _, d := range []plugin.Database{{Server: server}, {Server: server, Password: "own"}, {Server: server, User: "acme"}, {Server: server, User: "acme", Password: "own"}} {
		_, err := pools.Place(t.Context(), d)
		mustSay(t, err, "seen")
	}
	if want := []string{"owner:pw", "owner:own", "acme:", "acme:own"}; !slices.Equal(passwords, want) {
		t.Errorf("got %q, want %q", passwords, want)
	}
}

func release(p plugin.Placement) {
	if p.Lease != nil {
		p.Lease.Release()
	}
}

const secret = "hush"

func TestSecretsAreNotShown(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	show := func(v any) {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x"} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
		encoded, err := json.Marshal(v)
		if err != nil {
			fmt.Fprintln(&out, err)
		}
		out.Write(encoded)
		slog.New(slog.NewTextHandler(&out, nil)).Info("text", "v", v)
		slog.New(slog.NewJSONHandler(&out, nil)).Info("json", "v", v)
	}
	strategyOf := func(d plugin.Database) plugin.Strategy {
		return plugin.ByDatabase(func(context.Context, scope.Tenant) (plugin.Database, error) { return d, nil })
	}
	good := plugin.Database{Server: pgtest.Database(t)}
	for _, d := range []plugin.Database{
		good,
		{Server: "postgres://u:hush@127.0.0.1:1/app?sslmode=disable", Name: "n"},
		{Server: "postgres://127.0.0.1:1/app?sslmode=disable", User: "u", Password: secret},
		{Server: "host=127.0.0.1 port=1 user=u password=hush sslmode=disable"},
		{Server: "host=127.0.0.1 password='hush"},
		{Server: "postgres://u:hu/hush@127.0.0.1:1/app"},
		{Server: "postgres://u:hush:hush@127.0.0.1:hush/app"},
		{Server: "password = hush port=x"},
		{Server: "user=u password=wrong-" + secret + " sslmode=nonsense"},
		{Server: good.Server, User: "no_such_user", Password: secret},
	} {
		pools := newPools(t)
		p1, err := pools.Place(t.Context(), d)
		show(err)
		show(p1.Lease)
		release(p1)
		show(d)
		show(&d)
		show(struct{ D plugin.Database }{d})
		show([]plugin.Database{d})
		show(map[plugin.Database]int{d: 1})
		show(pools)
		show(pools.Stats())
		strategy := strategyOf(d)
		p2, err := strategy.Place(t.Context(), nil, tenant(t, "a"))
		show(err)
		release(p2)
		show(strategy)
		db, p := open(t, good.Server, nil, strategy)
		show(db.WithContext(as(t, "a")).Exec("select 1").Error)
		show(p.Stats())
	}
	cfg, err := pgxpool.ParseConfig(good.Server)
	if err != nil {
		t.Fatal(err)
	}
	for _, words := range []string{secret, cfg.ConnConfig.Password, "postgres://", "sslmode"} {
		if strings.Contains(out.String(), words) {
			i := strings.Index(out.String(), words)
			t.Errorf("%q is shown: …%s…", words, out.String()[max(0, i-200):i+len(words)])
		}
	}
	if !strings.Contains(out.String(), "127.0.0.1:1/n as u") {
		t.Error("the place is not shown")
	}
}

func TestWrongOptionsOfByDatabaseAreErrors(t *testing.T) {
	t.Parallel()
	some := func(context.Context, scope.Tenant) (plugin.Database, error) { return plugin.Database{}, nil }
	for word, s := range map[string]plugin.Strategy{"WithBudget": plugin.ByDatabase(some, plugin.WithBudget(-1)), "nil": plugin.ByDatabase(nil)} {
		mustSay(t, openPlain(t, pgtest.Database(t), nil).Use(plugin.New(s)), word)
		_, err := s.Place(t.Context(), nil, tenant(t, "a"))
		mustSay(t, err, word)
		_, err = s.PlaceShared(t.Context(), nil)
		mustSay(t, err, word)
	}
}

func TestAnErrorOfWhereNamesTheTenant(t *testing.T) {
	t.Parallel()
	db, _ := twoDatabases(t, nil)
	err := db.WithContext(as(t, "ghost")).Exec("select 1").Error
	mustBe(t, err, errNobody)
	var tenantErr *scope.TenantError
	if !errors.As(err, &tenantErr) || tenantErr.Tenant.String() != "ghost" {
		t.Errorf("got %v", err)
	}
}
