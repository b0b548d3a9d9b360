package catalog_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"gorm.io/gorm"

	"github.com/tenantry/tenantry/catalog"
	pgdsn "github.com/tenantry/tenantry/internal/pgserver/dsn"
	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
	"github.com/tenantry/tenantry/migrator"
	"github.com/tenantry/tenantry/plugin"
)

// tokens gives the roles whose connections it sees a new password each time: a connection
// that is dialed without it, or with the token of the last one, is refused.
type tokens struct {
	super *pgxpool.Pool
	roles []string // who log in with tokens

	turn chan struct{} // held from the making of a token until the login is over

	mu   sync.Mutex // guards seen
	seen map[string]bool
}

func newTokens(t *testing.T, roles ...string) *tokens {
	t.Helper()
	return &tokens{super: admin(t, pgtest.DSN(t)), roles: roles, turn: make(chan struct{}, 1), seen: map[string]bool{}}
}

// set is what a service would give to catalog.WithBeforeConnect.
func (k *tokens) set(ctx context.Context, server string, cc *pgx.ConnConfig) error {
	if !slices.Contains(k.roles, cc.User) {
		k.see(server + ": a tenant")
		cc.Password = "does not count"
		return nil
	}
	k.see(server + ": " + cc.User)
	select {
	case k.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	over := sync.OnceFunc(func() { <-k.turn })
	cc.Password = rand.Text()
	if _, err := k.super.Exec(ctx, fmt.Sprintf("alter role %s password '%s'", cc.User, cc.Password)); err != nil {
		over()
		return err
	}
	dial, after := cc.DialFunc, cc.AfterConnect
	cc.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		if err != nil {
			over()
			return nil, err
		}
		return &tokenConn{conn, over}, nil
	}
	cc.AfterConnect = func(ctx context.Context, c *pgconn.PgConn) error {
		over()
		if after == nil {
			return nil
		}
		return after(ctx, c)
	}
	return nil
}

// base is the same for GORM's own pool.
func (k *tokens) base(cfg *pgxpool.Config) error {
	cfg.BeforeConnect = func(ctx context.Context, cc *pgx.ConnConfig) error { return k.set(ctx, "GORM", cc) }
	return nil
}

func (k *tokens) see(what string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.seen[what] = true
}

// all returns whose connections were seen.
func (k *tokens) all() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Sorted(maps.Keys(k.seen))
}

// tokenConn ends the turn when it is closed: the login has failed.
type tokenConn struct {
	net.Conn
	over func()
}

func (c *tokenConn) Close() error {
	defer c.over()
	return c.Conn.Close()
}

// persist calls f until it works: connections that were open may first be found to be cut.
func persist(t *testing.T, what string, f func() error) {
	t.Helper()
	var err error
	t.Cleanup(func() {
		if t.Failed() && err != nil {
			t.Logf("%s: %v", what, err)
		}
	})
	eventually(t, what, func() bool { err = f(); return err == nil })
}

// TestEveryLoginMayTakeATokenOfItsOwn uses all that dials, on two servers, where a token
// counts for one login.
func TestEveryLoginMayTakeATokenOfItsOwn(t *testing.T) {
	t.Parallel()
	for _, two := range []bool{false, true} {
		t.Run(map[bool]string{false: "one login", true: "two logins"}[two], func(t *testing.T) {
			t.Parallel()
			l := twoLogins(t, pgtest.DSN(t))
			master := one[string](t, l.super, "select current_database()")
			elsewhere := pgtest.Database(t)
			shared := nameIn(t, elsewhere)
			execute(t, l.super, fmt.Sprintf("alter database %s owner to %s", pgx.Identifier{shared}.Sanitize(), l.adminRole))
			expired := func(role, database string) string { return login(t, elsewhere, role, "expired", database) }

			k := newTokens(t, l.adminRole, l.servingRole)
			server := catalog.NewServer{Name: "second", ConnString: expired(l.adminRole, shared)}
			serving, opts := l.adminRole, []catalog.Option{
				catalog.WithKeys(catalog.FixedKeys{testKey(t, "k1")}), catalog.WithMigrations(migrations()), catalog.WithRoles(),
				catalog.WithBeforeConnect(k.set), catalog.WithSpares(catalog.OwnSchema, 1), catalog.WithSpares(catalog.OwnDatabase, 1),
			}
			if two {
				serving = l.servingRole
				server.ServingConnString = expired(serving, shared)
				opts = append(opts, catalog.WithServingRole(serving))
			}
			super, err := pgdsn.WithDatabase(pgtest.DSN(t), master)
			if err != nil {
				t.Fatal(err)
			}
			c, err := catalog.Open(t.Context(), expired(l.adminRole, master), opts...)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				dropAll(t, c)
				if err := c.Close(); err != nil {
					t.Error(err)
				}
				dropTemplates(t, super)
				dropSpares(t, super)
			})
			if err := c.AddServer(t.Context(), server); err != nil {
				t.Fatal(err)
			}
			db := use(t, expired(serving, master), c, &gorm.Config{DisableAutomaticPing: true}, plugin.WithPoolConfig(k.base))
			stockedOn(t, c, "main", 2)
			stockedOn(t, c, "second", 2)
			listening(t, c)

			prefix := unique("token")
			var made []catalog.Tenant
			for i, n := range []catalog.New{
				{Server: catalog.Main}, {Server: catalog.Main, Kind: catalog.OwnDatabase}, {Server: "second"}, {Server: "second", Kind: catalog.OwnDatabase},
			} {
				n.ID = fmt.Sprintf("%s-%d", prefix, i)
				made = append(made, create(t, c, n))
				works(t, db, n.ID)
			}
			for range 2 { // the second time with new connections
				persist(t, "Run", func() error { _, err := migrator.New(db, c, migrations()).Run(t.Context()); return err })
				for _, tenant := range made {
					persist(t, "Suspend", func() error { return c.Suspend(t.Context(), tenant.ID) })
					persist(t, "Resume", func() error { return c.Resume(t.Context(), tenant.ID) })
					persist(t, "a statement", func() error { return db.WithContext(as(t, tenant.ID.String())).Exec("select 1").Error })
					works(t, db, tenant.ID.String())
				}
				persist(t, "Repair", func() error { return c.Repair(t.Context()) })
				execute(t, l.super, "select pg_terminate_backend(pid) from pg_stat_activity where usename = any ($1)", k.roles)
				eventually(t, "the catalog notices", func() bool { return !c.Stats().Listening })
				listening(t, c)
			}
			if report, err := migrator.New(db, c, append(migrations(), second())).Run(t.Context()); err != nil {
				t.Fatal(report, err)
			}
			for _, tenant := range made {
				if err := c.Drop(t.Context(), tenant.ID, tenant.ID.String()); err != nil {
					t.Error(err)
				}
			}
			want := []string{
				"GORM: " + serving, "main: " + l.adminRole, "main: a tenant",
				"second: " + l.adminRole, "second: a tenant", "second: " + serving,
			}
			slices.Sort(want)
			if got := k.all(); !slices.Equal(got, slices.Compact(want)) {
				t.Errorf("the function has seen %q, want %q", got, want)
			}
		})
	}
}

// TestAnErrorOfBeforeConnectNamesTheServer and shows no secret.
func TestAnErrorOfBeforeConnectNamesTheServer(t *testing.T) {
	t.Parallel()
	const secret = "correct-horse-battery"
	down := errors.New("the vault is down")
	dsn := pgtest.Database(t)
	wrong := login(t, dsn, unique("nobody"), secret, nameIn(t, dsn))
	type hook = func(context.Context, *pgx.ConnConfig) error
	for name, tt := range map[string]struct {
		fail hook
		code string
		want string
	}{
		"an error": {func(context.Context, *pgx.ConnConfig) error { return down }, "", down.Error()},
		"a connection of its own": {func(ctx context.Context, _ *pgx.ConnConfig) error {
			_, err := pgx.Connect(ctx, wrong)
			return err
		}, wrongPassword, "password authentication failed"},
		"another user":     {func(_ context.Context, cc *pgx.ConnConfig) error { cc.User = "somebody"; return nil }, "", "has changed Database or User"},
		"another database": {func(_ context.Context, cc *pgx.ConnConfig) error { cc.Database = "postgres"; return nil }, "", "has changed Database or User"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var failing atomic.Value // the server's name
			failing.Store(catalog.Main)
			with := catalog.WithBeforeConnect(func(ctx context.Context, server string, cc *pgx.ConnConfig) error {
				if server == failing.Load() {
					return tt.fail(ctx, cc)
				}
				return nil
			})
			mustFail := func(what string, err error) {
				t.Helper()
				mustSay(t, err, "catalog: WithBeforeConnect: server \""+failing.Load().(string)+"\"", tt.want)
				mustBeRedacted(t, what, err, tt.code, secret)
			}
			main, second := pgtest.Database(t), pgtest.Database(t)
			_, err := catalog.Open(t.Context(), main, catalog.WithKeys(catalog.FixedKeys{}), with)
			mustFail("Open", err)

			failing.Store("second")
			c := open(t, main, with)
			server := catalog.NewServer{Name: "second", ConnString: second}
			mustFail("AddServer", c.AddServer(t.Context(), server))
			failing.Store("")
			if err := c.AddServer(t.Context(), server); err != nil {
				t.Fatal(err)
			}
			tenant := create(t, c, catalog.New{ID: unique("hook"), Server: "second"})
			failing.Store("second")
			db := use(t, main, c, nil)
			mustFail("a statement", db.WithContext(as(t, tenant.ID.String())).Exec("select 1").Error)
			failing.Store("")
		})
	}
	_, err := catalog.Open(t.Context(), dsn, catalog.WithBeforeConnect(nil))
	mustSay(t, err, "catalog: WithBeforeConnect: the function is nil")
}
