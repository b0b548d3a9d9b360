package isolation_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/tenantry/tenantry/internal/isolation"
	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
	"github.com/tenantry/tenantry/internal/pgserver/watchdog"
	"github.com/tenantry/tenantry/scope"
)

var errBroken = errors.New("broken")

func admin(t *testing.T, dsn string) *pgxpool.Pool {
	t.Helper()
	pool, err := pgxpool.New(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

func place(t *testing.T, id string, pool *pgxpool.Pool, schema string) isolation.Place {
	t.Helper()
	tenant, err := scope.Parse(id)
	if err != nil {
		t.Fatal(err)
	}
	return isolation.Place{Tenant: tenant, Admin: pool, Schema: schema}
}

// database returns a place that is a database of its own.
func database(t *testing.T, id string) isolation.Place {
	t.Helper()
	return place(t, id, admin(t, pgtest.Database(t)), "public")
}

func name(p isolation.Place) string { return p.Admin.Config().ConnConfig.Database }

// open connects to nothing yet.
func open(t *testing.T, config *pgx.ConnConfig) *gorm.DB {
	t.Helper()
	pool := stdlib.OpenDB(*config)
	t.Cleanup(func() {
		if err := pool.Close(); err != nil {
			t.Error(err)
		}
	})
	db, err := gorm.Open(postgres.New(postgres.Config{Conn: pool}), &gorm.Config{Logger: logger.Discard, DisableAutomaticPing: true})
	if err != nil {
		t.Fatal(err)
	}
	return db
}

// run fills the places and works on the database of the first one, whatever the
// tenant. The connections are named like that database.
func run(t *testing.T, cfg isolation.Config) isolation.Result {
	t.Helper()
	isolation.Fill(t, cfg.Places)
	first := cfg.Places[0]
	config := first.Admin.Config().ConnConfig
	config.RuntimeParams["application_name"] = name(first)
	cfg.DB, cfg.AppName, cfg.Goroutines = open(t, config), name(first), 1
	return isolation.Run(t, cfg)
}

func mustBeClean(t *testing.T, r isolation.Result) {
	t.Helper()
	if len(r.Leaks) > 0 || len(r.Errors) > 0 {
		t.Errorf("leaks %q, errors %q", r.Leaks, r.Errors)
	}
}

func TestATenantInAnothersDatabaseIsSeen(t *testing.T) {
	t.Parallel()
	a, b := database(t, "a"), database(t, "b")
	r := run(t, isolation.Config{Places: []isolation.Place{a, b}, Statements: 60})
	for _, want := range []string{
		fmt.Sprintf("b works in schema %q of database %q", "public", name(a)),
		`b was shown a row of "a"`,
	} {
		if !slices.Contains(r.Leaks, want) {
			t.Errorf("no leak says: %s", want)
		}
	}
	if !slices.ContainsFunc(r.Leaks, func(leak string) bool { return strings.HasSuffix(leak, "foreign rows lie in the place of a") }) {
		t.Error("nobody has counted b's rows in the database of a")
	}
}

// The killer is connected to another database, as one is for all tenants of a
// server.
func TestBackendsOfAnyDatabaseAreKilled(t *testing.T) {
	t.Parallel()
	r := run(t, isolation.Config{
		Places: []isolation.Place{database(t, "a")}, Statements: 1000,
		KillEvery: 10 * time.Millisecond, Killers: []*pgxpool.Pool{admin(t, pgtest.DSN(t))},
	})
	mustBeClean(t, r)
	if r.Kills == 0 {
		t.Error("no backend was killed")
	}
}

func TestMeanwhileRunsUntilTheWorkersAreThrough(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		last func(context.Context) error
		want []string
	}{
		"ends with its context":   {func(ctx context.Context) error { return fmt.Errorf("migrate: %w", ctx.Err()) }, nil},
		"ends well":               {func(context.Context) error { return nil }, nil},
		"fails after its context": {func(context.Context) error { return errBroken }, []string{"meanwhile: broken"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := database(t, "a")
			r := run(t, isolation.Config{Places: []isolation.Place{p}, Statements: 50, Meanwhile: func(ctx context.Context) error {
				<-ctx.Done()
				for range 50 { // takes longer than to count the rows: Run must wait
					if err := p.Admin.Ping(context.WithoutCancel(ctx)); err != nil {
						return err
					}
				}
				return tc.last(ctx)
			}})
			if len(r.Leaks) > 0 || !slices.Equal(r.Errors, tc.want) {
				t.Errorf("leaks %q, errors %q; want %q", r.Leaks, r.Errors, tc.want)
			}
		})
	}
}

// While the workers run, nothing excuses an error, not even one that looks like
// the end of a context.
func TestMeanwhileThatFailsEarlyIsReported(t *testing.T) {
	t.Parallel()
	r := run(t, isolation.Config{
		Places: []isolation.Place{database(t, "a")}, Statements: 1000,
		Meanwhile: func(context.Context) error { return context.Canceled },
	})
	if want := []string{"meanwhile: context canceled"}; len(r.Leaks) > 0 || !slices.Equal(r.Errors, want) {
		t.Errorf("leaks %q, errors %q; want %q", r.Leaks, r.Errors, want)
	}
}

// A connection that is refused is an error unless the pooler was started again.
func TestOnlyARestartExcusesRefusals(t *testing.T) {
	t.Parallel()
	addr, err := watchdog.FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	config, err := pgx.ParseConfig("postgres://nobody@" + addr + "/nothing?sslmode=disable")
	if err != nil {
		t.Fatal(err)
	}
	db := open(t, config)
	for restarts, want := range map[int]int{0: 1, 1: 0} {
		places := []isolation.Place{database(t, "a")}
		isolation.Fill(t, places)
		r := isolation.Run(t, isolation.Config{DB: db, Places: places, Goroutines: 1, Statements: 20, Restarts: func() int { return restarts }})
		if len(r.Errors) != want || len(r.Leaks) > 0 || r.Refused == 0 {
			t.Errorf("after %d restarts: %s: errors %q, leaks %q", restarts, r, r.Errors, r.Leaks)
		}
	}
}

func TestFillSetsATrapWhereNoTenantLives(t *testing.T) {
	t.Parallel()
	shared, own := admin(t, pgtest.Database(t)), database(t, "own")
	isolation.Fill(t, []isolation.Place{place(t, "small", shared, "tenant_small"), own, place(t, "other", shared, "tenant_other")})
	for pool, want := range map[*pgxpool.Pool]string{shared: "nobody", own.Admin: "own"} {
		var owner string
		if err := pool.QueryRow(t.Context(), "select distinct tenant from public.entries").Scan(&owner); err != nil {
			t.Fatal(err)
		}
		if owner != want {
			t.Errorf("public has the rows of %q, want %q", owner, want)
		}
	}
}
