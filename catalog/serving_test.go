package catalog_test

import (
	"context"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/go-gormigrate/gormigrate/v2"
	"github.com/jackc/pgx/v5/pgxpool"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"

	"github.com/tenantry/tenantry/catalog"
	pgdsn "github.com/tenantry/tenantry/internal/pgserver/dsn"
	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
	"github.com/tenantry/tenantry/migrator"
	"github.com/tenantry/tenantry/scope"
)

// logins is a master database with two logins.
type logins struct {
	admin, serving         string // connection strings
	adminRole, servingRole string
	super                  *pgxpool.Pool // in the master database
}

var setUpScript = regexp.MustCompile("(?s)```sql\n(create role app_admin .*?)```")

// twoLogins sets a master database up as docs/security.md says, word for word but for
// the names.
func twoLogins(t *testing.T, installer string) logins {
	t.Helper()
	page, err := os.ReadFile("../docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	script := setUpScript.FindSubmatch(page)
	if script == nil {
		t.Fatal("docs/security.md has no script")
	}
	name := unique("l")
	text := strings.NewReplacer("app_admin", name+"_admin", "myservice", name).Replace(string(script[1]))
	text = regexp.MustCompile(`\bapp\b`).ReplaceAllString(text, name+"_app")
	l := logins{adminRole: name + "_admin", servingRole: name + "_app"}
	server := admin(t, installer)
	t.Cleanup(func() {
		super := admin(t, pgtest.DSN(t))
		execute(t, super, "drop database if exists "+name+" with (force)")
		execute(t, super, "drop role if exists "+l.servingRole)
		execute(t, super, "drop role if exists "+l.adminRole)
	})
	for _, sql := range strings.Split(strings.TrimSpace(text), "\n") {
		execute(t, server, sql)
	}
	l.admin, l.serving = login(t, installer, l.adminRole, "change me", name), login(t, installer, l.servingRole, "change me, too", name)
	super, err := pgdsn.WithDatabase(pgtest.DSN(t), name)
	if err != nil {
		t.Fatal(err)
	}
	l.super = admin(t, super)
	return l
}

// installer returns the connection string of a role as managed services give: CREATEROLE
// and CREATEDB, and no superuser.
func installer(t *testing.T) string {
	t.Helper()
	super, name := admin(t, pgtest.DSN(t)), unique("installer")
	execute(t, super, "create role "+name+" login createdb createrole password 'secret'")
	t.Cleanup(func() { execute(t, super, "drop role "+name) })
	return login(t, pgtest.DSN(t), name, "secret", "postgres")
}

// startServing is a service with two logins as docs/security.md shows it.
func startServing(ctx context.Context, adminDSN, servingDSN string, migrations migrator.Migrations) error {
	tenants, err := catalog.Open(ctx, adminDSN,
		catalog.WithServingRole("app"),
		catalog.WithRoles(),
		catalog.WithMigrations(migrations))
	if err != nil {
		return err
	}
	defer tenants.Close()
	db, err := gorm.Open(postgres.Open(servingDSN), &gorm.Config{})
	_ = db
	return err
}

var _ = startServing

// mustDeny runs SQL that the server has to refuse for want of rights. Each has a
// transaction of its own, behind RESET ROLE as an attacker would have it.
func mustDeny(t *testing.T, db *gorm.DB, statements ...string) {
	t.Helper()
	for _, sql := range statements {
		if err := injected(db, sql); sqlState(err) != denied {
			t.Errorf("%s: got error %v, want %s", sql, err, denied)
		}
	}
}

// injected runs SQL that leaves a tenant's role, and rolls it back.
func injected(db *gorm.DB, statements ...string) error {
	tx := db.Begin()
	defer tx.Rollback()
	for _, sql := range append([]string{"reset role"}, statements...) {
		if err := tx.Exec(sql).Error; err != nil {
			return err
		}
	}
	return tx.Error
}

// TestTwoLoginsBoundWhatInjectedSQLMayDo sets a service up with the script of
// docs/security.md, as a superuser and as one who is none, and uses it.
func TestTwoLoginsBoundWhatInjectedSQLMayDo(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name      string
		roles     bool
		installer func(*testing.T) string
	}{
		{"roles", true, installer},
		{"no roles", false, installer},
		{"set up by a superuser", true, func(t *testing.T) string { return pgtest.DSN(t) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			l := twoLogins(t, c.installer(t))
			opts := []catalog.Option{catalog.WithServingRole(l.servingRole)}
			if c.roles {
				opts = append(opts, catalog.WithRoles())
			}
			tenants := open(t, l.admin, opts...)
			db, prefix := use(t, l.serving, tenants, nil), unique("two")
			a, b := create(t, tenants, catalog.New{ID: prefix + "-a"}), create(t, tenants, catalog.New{ID: prefix + "-b"})
			d := create(t, tenants, ownDatabase(prefix+"-d"))
			ids := []string{a.ID.String(), b.ID.String(), d.ID.String()}
			for _, id := range ids {
				works(t, db, id)
			}
			l.mustDenyAll(t, db, a, b)
			if one[bool](t, l.super, "select rolsuper or rolcreaterole or rolcreatedb or exists (select from pg_auth_members where member = r.oid) from pg_roles r where rolname = $1", d.Role) {
				t.Error("a database's login has rights")
			}
			reachOthersRows(t, db, a, b)
			if _, err := migrator.New(db, tenants, append(migrations(), second())).Run(t.Context()); err != nil {
				t.Fatal(err)
			}
			for _, id := range ids {
				if err := db.WithContext(as(t, id)).Exec("insert into notes values (1, 'x')").Error; err != nil {
					t.Errorf("%s: a table that was made later: %v", id, err)
				}
			}
			mustDeny(t, db.WithContext(as(t, ids[0])), "drop table "+a.Schema+".notes", "drop table "+b.Schema+".notes", "select * from tenantry.ledger", "delete from tenantry.runs")
			if err := tenants.Drop(t.Context(), b.ID, ids[1]); err != nil {
				t.Error(err)
			}
			if err := db.WithContext(as(t, ids[0])).Exec("insert into invoices (title) values ('still')").Error; err != nil {
				t.Error(err)
			}
		})
	}
}

// mustDenyAll tries as tenant a and without a tenant what an attacker would.
func (l logins) mustDenyAll(t *testing.T, db *gorm.DB, a, b catalog.Tenant) {
	t.Helper()
	for _, ctx := range []context.Context{as(t, a.ID.String()), scope.Shared(t.Context())} {
		mustDeny(t, db.WithContext(ctx),
			"create role evil", "create schema evil", "create table public.evil (id int)",
			"alter role "+l.servingRole+" createrole", "alter role "+l.servingRole+" superuser", "alter role "+l.adminRole+" password 'x'",
			"set role "+l.adminRole, "set session authorization "+l.adminRole, "set role postgres", "select set_config('role', '"+l.adminRole+"', false)",
			"grant "+l.adminRole+" to "+l.servingRole,
			"select * from tenantry.tenants", "select * from tenantry.servers", "update tenantry.hosts set tenant = ''", "create table tenantry.evil (id int)",
			"copy (select 1) to program 'true'", "copy (select 1) to '/tmp/evil'", "select pg_read_file('/etc/passwd')",
			"drop schema "+a.Schema+" cascade", "drop schema "+b.Schema+" cascade", "alter schema "+b.Schema+" rename to evil", "alter schema "+b.Schema+" owner to "+l.servingRole,
			"create table "+a.Schema+".evil (id int)", "alter table "+a.Schema+".invoices add column evil int", "truncate "+b.Schema+".invoices",
			"drop table "+b.Schema+".invoices", "delete from "+a.Schema+".migrations", "alter default privileges for role "+l.adminRole+" grant all on tables to public",
			"create extension pg_trgm", "reassign owned by "+l.adminRole+" to "+l.servingRole,
		)
	}
	for _, sql := range []string{"create database evil", "alter system set work_mem = '1MB'", "alter database " + b.Database + " owner to " + l.servingRole} { // not in a transaction
		if _, err := admin(t, l.serving).Exec(t.Context(), sql); sqlState(err) != denied {
			t.Errorf("%s: got error %v, want %s", sql, err, denied)
		}
	}
	asAdmin := use(t, l.admin, open(t, l.admin, catalog.WithServingRole(l.servingRole)), nil).WithContext(scope.Shared(t.Context()))
	if err := injected(asAdmin, "create role evil_"+l.adminRole, "select * from tenantry.tenants", "drop schema "+b.Schema+" cascade"); err != nil {
		t.Errorf("with one login all of it works, or this test shows nothing: %v", err)
	}
}

// reachOthersRows documents what two logins leave open: the serving login serves all
// tenants that have schemas.
func reachOthersRows(t *testing.T, db *gorm.DB, a, b catalog.Tenant) {
	t.Helper()
	read := []string{"select * from " + b.Schema + ".invoices"}
	if b.Role != "" {
		mustDeny(t, db.WithContext(as(t, a.ID.String())), read...) // it inherits nothing
		read = append([]string{"set role " + b.Role}, read...)
	}
	if err := injected(db.WithContext(as(t, a.ID.String())), read...); err != nil {
		t.Errorf("docs/security.md says that this reaches another tenant: %v", err)
	}
}

func TestAServingRoleThatCouldAdministerIsRefused(t *testing.T) {
	t.Parallel()
	l := twoLogins(t, installer(t))
	for _, c := range []struct{ name, change, back, want string }{
		{"nobody", "", "", "there is no role"},
		{l.adminRole, "", "", "is the administrator itself"},
		{l.servingRole, "alter role $r createrole", "alter role $r nocreaterole", "nocreaterole"},
		{l.servingRole, "alter role $r createdb", "alter role $r nocreatedb", "nocreatedb"},
		{l.servingRole, "alter role $r superuser", "alter role $r nosuperuser", "nosuperuser"},
		{l.servingRole, "grant $a to $r", "revoke $a from $r", "is a member of the administrator"},
	} {
		names := strings.NewReplacer("$r", l.servingRole, "$a", l.adminRole)
		if c.change != "" {
			execute(t, l.super, names.Replace(c.change))
		}
		tenants, err := catalog.Open(t.Context(), l.admin, catalog.WithServingRole(c.name))
		mustSay(t, err, "catalog: WithServingRole: ", c.want)
		if tenants != nil {
			t.Error("there is a catalog in spite of the error")
		}
		if c.back != "" {
			execute(t, l.super, names.Replace(c.back))
		}
	}
	for _, name := range []string{"", "a\x00b", strings.Repeat("x", 64)} {
		_, err := catalog.Open(t.Context(), l.admin, catalog.WithServingRole(name))
		mustSay(t, err, "catalog: WithServingRole: ", "is no name of a role")
	}
	open(t, l.admin, catalog.WithServingRole(l.servingRole))
}

func TestRepairServesTenantsFromBefore(t *testing.T) {
	t.Parallel()
	for name, roles := range map[string][]catalog.Option{"roles": {catalog.WithRoles()}, "no roles": nil} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, prefix := twoLogins(t, installer(t)), unique("before")
			before := open(t, l.admin, roles...)
			ids := []string{prefix + "-a", prefix + "-b", prefix + "-c"}
			for _, id := range ids {
				create(t, before, catalog.New{ID: id})
			}
			tenants := open(t, l.admin, append(roles, catalog.WithServingRole(l.servingRole))...)
			db := use(t, l.serving, tenants, nil)
			if err := tenants.Suspend(t.Context(), parse(t, ids[2])); err != nil {
				t.Fatal(err)
			}
			mustBeBroken(t, tenants, ids...)
			for _, id := range ids[:2] {
				if err := db.WithContext(as(t, id)).Create(&Invoice{}).Error; err == nil {
					t.Errorf("%s is served without rights", id)
				}
			}
			if err := tenants.Repair(t.Context(), parse(t, ids[1])); err != nil {
				t.Fatal(err)
			}
			works(t, db, ids[1])
			mustBeBroken(t, tenants, ids[0], ids[2])
			if err := tenants.Repair(t.Context()); err != nil {
				t.Fatal(err)
			}
			mustBeBroken(t, tenants)
			if err := tenants.Resume(t.Context(), parse(t, ids[2])); err != nil {
				t.Fatal(err)
			}
			works(t, db, ids[0])
			works(t, db, ids[2])
		})
	}
}

func mustBeBroken(t *testing.T, c *catalog.Catalog, want ...string) {
	t.Helper()
	broken, err := c.Broken(t.Context())
	got := make([]string, len(broken))
	for i, b := range broken {
		got[i] = b.String()
	}
	if err != nil || !slices.Equal(got, want) && len(got)+len(want) > 0 {
		t.Errorf("Repair has work with %q, %v, want %q", got, err, want)
	}
}

// TestASpareIsServed takes a spare that was made for the serving role, and none from
// before.
func TestASpareIsServed(t *testing.T) {
	t.Parallel()
	for name, roles := range map[string][]catalog.Option{"roles": {catalog.WithRoles()}, "no roles": nil} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, prefix := twoLogins(t, installer(t)), unique("spare")
			opts := slices.Concat(roles, []catalog.Option{catalog.WithSpares(catalog.OwnSchema, 1)})
			before := brief(t, l.admin, opts...)
			stocked(t, before, 1)
			if err := before.Close(); err != nil {
				t.Fatal(err)
			}
			tenants := open(t, l.admin, append(opts, catalog.WithServingRole(l.servingRole))...)
			db := use(t, l.serving, tenants, nil)
			stocked(t, tenants, 2)
			tenant := create(t, tenants, catalog.New{ID: prefix})
			mustBeSpare(t, tenant)
			works(t, db, prefix)
		})
	}
}

func TestTheSharedScopeIsServed(t *testing.T) {
	t.Parallel()
	l := twoLogins(t, installer(t))
	execute(t, l.super, "create table public.foreign_table (id int)") // by somebody else
	shared := migrator.Migrations{{ID: "plans", Migrate: func(tx *gorm.DB) error {
		return tx.Exec("create table plans (id bigserial primary key, name text)").Error
	}}}
	serve := func(list ...*gormigrate.Migration) *gorm.DB {
		tenants := open(t, l.admin, catalog.WithServingRole(l.servingRole))
		db := use(t, l.serving, tenants, nil)
		if _, err := migrator.New(db, tenants, migrations(), migrator.WithShared(append(shared, list...))).Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		return db.WithContext(scope.Shared(t.Context()))
	}
	db := serve()
	for _, sql := range []string{"insert into plans (name) values ('free')", "update plans set name = 'paid'", "delete from plans"} {
		if err := db.Exec(sql).Error; err != nil {
			t.Errorf("%s: %v", sql, err)
		}
	}
	execute(t, l.super, "revoke all on schema public from public; alter default privileges in schema public revoke all on sequences from "+l.servingRole)
	db = serve(&gormigrate.Migration{ID: "more", Migrate: func(tx *gorm.DB) error { return tx.Exec("create table more (id bigserial)").Error }})
	for _, sql := range []string{"insert into plans (name) values ('free')", "insert into more default values", "select * from migrations"} {
		if err := db.Exec(sql).Error; err != nil {
			t.Errorf("%s, after another Open: %v", sql, err)
		}
	}
	mustDeny(t, db, "delete from migrations", "drop table plans", "select * from foreign_table")
	// Where public is somebody else's, the rest is served.
	execute(t, l.super, "alter schema public owner to current_user; revoke all on schema public from "+l.servingRole+", "+l.adminRole)
	tenants := open(t, l.admin, catalog.WithServingRole(l.servingRole))
	id := unique("rest")
	create(t, tenants, catalog.New{ID: id})
	works(t, use(t, l.serving, tenants, nil), id)
}

func TestAnotherServerHasTwoLogins(t *testing.T) {
	t.Parallel()
	for name, roles := range map[string][]catalog.Option{"roles": {catalog.WithRoles()}, "no roles": nil} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, there, prefix := twoLogins(t, installer(t)), twoLogins(t, installer(t)), unique("there")
			tenants := open(t, l.admin, append(roles, catalog.WithServingRole(l.servingRole))...)
			db := use(t, l.serving, tenants, nil)
			for _, c := range []struct{ serving, want string }{
				{"host=\x00", "serving connection string"},
				{l.serving, "another database"},
				{there.admin, "is the administrator itself"},
			} {
				err := tenants.AddServer(t.Context(), catalog.NewServer{Name: "b", ConnString: there.admin, ServingConnString: c.serving})
				mustSay(t, err, c.want)
			}
			mustAdd(t, tenants, catalog.NewServer{Name: "b", ConnString: there.admin})
			early := create(t, tenants, catalog.New{ID: prefix + "-early", Server: "b"})
			loginIs(t, db, early, there.adminRole)
			mustChange(t, tenants, "b", catalog.ServerChange{ServingConnString: &there.serving})
			late := create(t, tenants, catalog.New{ID: prefix + "-late", Server: "b"})
			for _, tenant := range []catalog.Tenant{early, late} {
				loginIs(t, db, tenant, there.servingRole)
				works(t, db, tenant.ID.String())
				mustDeny(t, db.WithContext(as(t, tenant.ID.String())), "create role evil", "drop table "+early.Schema+".invoices", "set role "+there.adminRole)
			}
			if got := serversNamed(t, tenants); got["b"].ServingRole != there.servingRole || got[catalog.Main].ServingRole != l.servingRole {
				t.Errorf("the servers are %+v", got)
			}
			if _, err := migrator.New(db, tenants, append(migrations(), second())).Run(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := db.WithContext(as(t, early.ID.String())).Exec("insert into notes values (1, 'x')").Error; err != nil {
				t.Error(err)
			}
			mustChange(t, tenants, "b", catalog.ServerChange{ConnString: &there.admin}) // the other login stays
			loginIs(t, db, early, there.servingRole)
			err := tenants.ChangeServer(t.Context(), catalog.Main, catalog.ServerChange{ServingConnString: &l.serving})
			mustBe(t, err, catalog.ErrInvalid)
			none := ""
			mustChange(t, tenants, "b", catalog.ServerChange{ServingConnString: &none})
			loginIs(t, db, early, there.adminRole)
		})
	}
}

// loginIs checks who a tenant's statements log in as.
func loginIs(t *testing.T, db *gorm.DB, tenant catalog.Tenant, want string) {
	t.Helper()
	var got string
	if err := db.WithContext(as(t, tenant.ID.String())).Raw("select session_user").Scan(&got).Error; err != nil || got != want {
		t.Errorf("%s logs in as %q, %v, want %q", tenant.ID, got, err, want)
	}
}

func TestResealTakesServingLogins(t *testing.T) {
	t.Parallel()
	l, there, prefix := twoLogins(t, installer(t)), twoLogins(t, installer(t)), unique("reseal")
	first, next := testKey(t, "k1"), testKey(t, "k2")
	old := open(t, l.admin, catalog.WithKeys(catalog.FixedKeys{first}))
	mustAdd(t, old, catalog.NewServer{Name: "b", ConnString: there.admin, ServingConnString: there.serving})
	tenant := create(t, old, catalog.New{ID: prefix, Server: "b"})
	between := open(t, l.admin, catalog.WithKeys(catalog.FixedKeys{next, first}))
	if n, err := between.Reseal(t.Context()); n != 2 || err != nil {
		t.Errorf("resealed %d, %v, want the two logins of the server", n, err)
	}
	last := open(t, l.admin, catalog.WithKeys(catalog.FixedKeys{next}))
	loginIs(t, use(t, l.serving, last, nil), tenant, there.servingRole)
}
