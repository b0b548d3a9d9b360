//go:build unix

package catalog_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/go-gormigrate/gormigrate/v2"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"gorm.io/gorm"

	"github.com/tenantry/tenantry/catalog"
	"github.com/tenantry/tenantry/internal/isolation"
	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
	"github.com/tenantry/tenantry/migrator"
	"github.com/tenantry/tenantry/scope"
)

// envCrash, when set, makes this test binary a process that dies at a step: it
// holds a crash as JSON.
const envCrash = "CATALOG_TEST_CRASH"

// crash is the work of a process and the step at which it kills itself.
type crash struct {
	DSN    string
	Secret string // of its key, in base64
	Roles  bool
	Tenant catalog.New
	Drop   bool   // drop the tenant; otherwise make it
	Fail   bool   // the migrations of this process fail
	Step   string // the message of the step
	Twice  bool   // a second migration can't run in a transaction, and a third needs it

	Other  string // of another server, on which the tenant lives if it is given
	Spare  bool   // the tenant gets a spare, and another spare is made
	Remove bool   // remove the other server, with a spare
}

func TestMain(m *testing.M) {
	if text := os.Getenv(envCrash); text != "" {
		var c crash
		err := json.Unmarshal([]byte(text), &c)
		if err == nil {
			err = c.work(context.Background(), suicide{c.Step})
		}
		fmt.Fprintln(os.Stderr, "the process survived:", err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// suicide is a slog.Handler that kills the process at a message.
type suicide struct{ at string }

func (s suicide) Enabled(context.Context, slog.Level) bool { return true }
func (s suicide) WithAttrs([]slog.Attr) slog.Handler       { return s }
func (s suicide) WithGroup(string) slog.Handler            { return s }

func (s suicide) Handle(_ context.Context, r slog.Record) error {
	if r.Message != s.at {
		return nil
	}
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {} // not one statement more
}

func (c crash) options(h slog.Handler) ([]catalog.Option, error) {
	secret, err := base64.StdEncoding.DecodeString(c.Secret)
	if err != nil {
		return nil, err
	}
	key, err := catalog.NewKey("k1", secret)
	log := slog.New(h)
	opts := []catalog.Option{
		catalog.WithLogger(log), catalog.WithKeys(catalog.FixedKeys{key}),
		catalog.WithMigrations(loggedMigrations(log, c.Fail)),
	}
	if c.Twice {
		opts = append(opts, catalog.WithMigrations(append(loggedMigrations(log, c.Fail), twiceCommitted(log)...)))
	}
	if c.Roles {
		opts = append(opts, catalog.WithRoles())
	}
	if c.Spare {
		opts = append(opts, catalog.WithSpares(c.Tenant.Kind, 1))
	}
	return opts, err
}

var errFail = errors.New("the migration was told to fail")

// loggedMigrations tell when they run, once with the tenant's table and once
// without one: for a template.
func loggedMigrations(log *slog.Logger, fail bool) migrator.Migrations {
	m := migrations()
	return append(m[:0:0], &gormigrate.Migration{ID: m[0].ID, Migrate: func(tx *gorm.DB) error {
		if err := m[0].Migrate(tx); err != nil {
			return err
		}
		if _, err := scope.From(tx.Statement.Context); err != nil {
			log.Debug("test: the template's tables are made")
		} else {
			log.Debug("test: the tenant's tables are made")
		}
		if fail {
			return errFail
		}
		return nil
	}})
}

// twiceCommitted are migrations between which there is a commit.
func twiceCommitted(log *slog.Logger) migrator.Migrations {
	return migrator.Migrations{
		sqlMigration("2-mood", "create type mood as enum ('sad')", "alter table invoices add column mood mood"),
		migrator.NoTransaction(&gormigrate.Migration{ID: "3-happy", Migrate: func(tx *gorm.DB) error {
			log.Debug("test: before it")
			err := tx.Exec("alter type mood add value if not exists 'happy'").Error
			log.Debug("test: behind it")
			return err
		}}),
		{ID: "4-default", Migrate: func(tx *gorm.DB) error {
			err := tx.Exec("alter table invoices alter column mood set default 'happy'").Error
			log.Debug("test: in the last transaction")
			return err
		}},
	}
}

// work opens a catalog and makes or drops the tenant.
func (c crash) work(ctx context.Context, h slog.Handler) error {
	opts, err := c.options(h)
	if err != nil {
		return err
	}
	tenants, err := catalog.Open(ctx, c.DSN, opts...)
	if err != nil {
		return err
	}
	switch {
	case c.Spare:
		err = c.workWithSpare(ctx, tenants)
	case c.Remove:
		err = tenants.RemoveServer(ctx, "other")
	case c.Drop:
		var id scope.Tenant
		if id, err = scope.Parse(c.Tenant.ID); err == nil {
			err = tenants.Drop(ctx, id, c.Tenant.ID)
		}
	default:
		_, err = tenants.Create(ctx, c.Tenant)
	}
	return errors.Join(err, tenants.Close())
}

// run runs the work in a process that dies at the step, or is killed meanwhile.
func (c crash) run(t *testing.T, meanwhile func(*os.Process)) {
	t.Helper()
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), envCrash+"="+string(text))
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = io.Discard, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	meanwhile(cmd.Process)
	err = cmd.Wait()
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || !status.Signaled() || status.Signal() != syscall.SIGKILL {
		t.Fatalf("the process was not killed at %q: %v, %s", c.Step, err, &out)
	}
}

// kinds are the tenants whose making has steps of its own.
func (c crash) kinds() map[string]crash {
	withRole, own := c, c
	c.Tenant.Kind, withRole.Tenant.Kind, own.Tenant.Kind = catalog.OwnSchema, catalog.OwnSchema, catalog.OwnDatabase
	withRole.Roles = true
	return map[string]crash{"schema": c, "schema with a role": withRole, "database": own}
}

// anew returns c for a tenant and a master database of its own.
func (c crash) anew(t *testing.T) crash {
	t.Helper()
	secret := make([]byte, 32)
	_, _ = rand.Read(secret)
	c.DSN, c.Secret, c.Tenant.ID = pgtest.Database(t), base64.StdEncoding.EncodeToString(secret), unique("crash")
	return c
}

func (c crash) open(t *testing.T, h slog.Handler) *catalog.Catalog {
	t.Helper()
	opts, err := c.options(h)
	if err != nil {
		t.Fatal(err)
	}
	return open(t, c.DSN, opts...)
}

// steps returns what an undisturbed process logs meanwhile.
func (c crash) steps(t *testing.T) []string {
	t.Helper()
	c = c.anew(t)
	tenants := c.open(t, slog.DiscardHandler)
	if c.Drop {
		create(t, tenants, c.Tenant)
	}
	var j journal
	if err := c.work(t.Context(), &j); c.Fail != errors.Is(err, errFail) || !c.Fail && err != nil {
		t.Fatal(err)
	}
	steps := j.all()
	if len(steps) < 3 {
		t.Fatalf("too few steps: %q", steps)
	}
	t.Logf("steps: %q", steps)
	return steps
}

// TestAKilledProcessLeavesWhatCanBeRepairedOrDropped kills a process at each
// step of the making and of the dropping of a tenant.
func TestAKilledProcessLeavesWhatCanBeRepairedOrDropped(t *testing.T) {
	t.Parallel()
	for op, work := range map[string]crash{"make": {}, "fail to make": {Fail: true}, "drop": {Drop: true}} {
		for name, c := range work.kinds() {
			t.Run(op+" a "+name, func(t *testing.T) {
				t.Parallel()
				for _, step := range isolation.Crashes(t, c.steps(t)) {
					at := c
					at.Step = step
					t.Run(step+" then repair", func(t *testing.T) { t.Parallel(); at.killAndRepair(t) })
					t.Run(step+" then drop", func(t *testing.T) { t.Parallel(); at.killAndDrop(t) })
				}
			})
		}
	}
}

// kill runs the process and returns another catalog, and a pool on the master.
func (c crash) kill(t *testing.T) (*catalog.Catalog, *pgxpool.Pool) {
	t.Helper()
	if c.Drop {
		tenants := c.open(t, slog.DiscardHandler)
		create(t, tenants, c.Tenant)
		works(t, use(t, c.DSN, tenants, nil), c.Tenant.ID)
	}
	c.run(t, func(*os.Process) {})
	c.Fail = false
	return c.open(t, slog.DiscardHandler), admin(t, c.DSN)
}

func (c crash) killAndRepair(t *testing.T) {
	c = c.anew(t)
	tenants, pool := c.kill(t)
	c.repair(t, tenants, pool)
}

// repair repairs the tenant and checks that it works or is gone.
func (c crash) repair(t *testing.T, tenants *catalog.Catalog, pool *pgxpool.Pool) {
	t.Helper()
	// The server sees the end of the process when it is done with its statement.
	eventually(t, "the tenant is repaired", func() bool {
		if err := tenants.Repair(t.Context()); err != nil {
			t.Fatal(err)
		}
		tenant, err := tenants.Get(t.Context(), parse(t, c.Tenant.ID))
		return errors.Is(err, catalog.ErrUnknown) || tenant.State == catalog.Active
	})
	_, err := tenants.Get(t.Context(), parse(t, c.Tenant.ID))
	if gone := errors.Is(err, catalog.ErrUnknown); !gone {
		works(t, use(t, c.DSN, tenants, nil), c.Tenant.ID)
	} else if !c.Drop {
		t.Error("a tenant that was reserved is gone")
	}
	mustMatch(t, tenants, pool, c.Tenant.ID)
	if drafts := slices.DeleteFunc(templates(t, pool), func(name string) bool { return !strings.HasSuffix(name, "_new") }); len(drafts) > 0 {
		t.Errorf("drafts of templates are left: %q", drafts)
	}
}

func (c crash) killAndDrop(t *testing.T) {
	c = c.anew(t)
	tenants, pool := c.kill(t)
	c.drop(t, tenants, pool)
}

// drop drops the tenant and checks that nothing is left of it.
func (c crash) drop(t *testing.T, tenants *catalog.Catalog, pool *pgxpool.Pool) {
	t.Helper()
	eventually(t, "the tenant can be dropped", func() bool {
		err := tenants.Drop(t.Context(), parse(t, c.Tenant.ID), c.Tenant.ID)
		if err != nil && !errors.Is(err, catalog.ErrBusy) && !errors.Is(err, catalog.ErrUnknown) {
			t.Fatal(err)
		}
		return !errors.Is(err, catalog.ErrBusy)
	})
	left := objects(t, pool, identity(t, pool), c.Tenant.ID)
	// A draft of a template is no tenant's. The next template takes its place.
	left = slices.DeleteFunc(left, func(name string) bool { return strings.HasSuffix(name, "_new") })
	if len(left) > 0 {
		t.Errorf("left: %q", left)
	}
	if n := one[int](t, pool, "select count(*)::int from tenantry.databases where kind = 'database'"); n > 0 {
		t.Errorf("the master knows %d databases", n)
	}
}

// TestAProcessIsKilledAroundACommitOfTheMigrations: nobody is served yet, and Repair
// goes on, or Drop finds all of it.
func TestAProcessIsKilledAroundACommitOfTheMigrations(t *testing.T) {
	t.Parallel()
	for _, kind := range []catalog.Kind{catalog.OwnSchema, catalog.OwnDatabase} {
		for _, step := range []string{"test: before it", "test: behind it", "test: in the last transaction"} {
			c := crash{Roles: true, Twice: true, Step: step, Tenant: catalog.New{Kind: kind}}
			t.Run(string(kind)+" "+step+" then repair", func(t *testing.T) {
				t.Parallel()
				c := c.anew(t)
				tenants, pool := c.kill(t)
				c.repair(t, tenants, pool)
				tenant, err := tenants.Get(t.Context(), parse(t, c.Tenant.ID))
				if err != nil {
					t.Fatal(err)
				}
				db := use(t, c.DSN, tenants, nil).WithContext(as(t, c.Tenant.ID))
				var mood string
				if err := db.Raw("insert into invoices (title) values ('x') returning mood").Scan(&mood).Error; err != nil || mood != "happy" {
					t.Errorf("%s: got %q, %v", tenant.ID, mood, err)
				}
			})
			t.Run(string(kind)+" "+step+" then drop", func(t *testing.T) { t.Parallel(); c.killAndDrop(t) })
		}
	}
}

// TestAProcessIsKilledWhileTheServerWorks: the server goes on with the statement,
// and its end comes upon the repair.
func TestAProcessIsKilledWhileTheServerWorks(t *testing.T) {
	t.Parallel()
	for statement, drop := range map[string]bool{"create database": false, "drop database": true} {
		for round := range 6 {
			t.Run(fmt.Sprintf("%s %d", statement, round), func(t *testing.T) {
				t.Parallel()
				c := crash{Drop: drop, Step: "none"}.anew(t)
				c.Tenant.Kind = catalog.OwnDatabase
				tenants, pool := c.open(t, slog.DiscardHandler), admin(t, c.DSN)
				first := create(t, tenants, ownDatabase(unique("template")))
				if err := tenants.Drop(t.Context(), first.ID, first.ID.String()); err != nil {
					t.Fatal(err)
				}
				release := func() {}
				if drop { // it takes a moment only, unless it waits for somebody's lock of the database
					tenant := create(t, tenants, c.Tenant)
					holder, err := pool.Begin(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					if _, err := holder.Exec(t.Context(), "comment on database "+pgx.Identifier{tenant.Database}.Sanitize()+" is 'held'"); err != nil {
						t.Fatal(err)
					}
					release = func() { _ = holder.Rollback(context.WithoutCancel(t.Context())) }
				}
				c.run(t, func(p *os.Process) {
					defer release()
					eventually(t, "the server works on: "+statement, func() bool {
						return one[bool](t, pool, "select exists (select from pg_stat_activity where starts_with(query, $1) and state = 'active')", statement+` "`+c.Tenant.ID)
					})
					if err := p.Kill(); err != nil {
						t.Error(err)
					}
				})
				if round%2 == 0 {
					c.repair(t, tenants, pool)
					return
				}
				c.drop(t, tenants, pool)
				// The server lets go of the statement when it is done.
				eventually(t, "the server is done", func() bool {
					return !one[bool](t, pool, "select exists (select from pg_stat_activity where starts_with(query, $1) and pid <> pg_backend_pid())", statement+` "`+c.Tenant.ID)
				})
				mustMatch(t, tenants, pool, c.Tenant.ID)
			})
		}
	}
}
