package catalog_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"gorm.io/gorm"

	"github.com/tenantry/tenantry/catalog"
	pgdsn "github.com/tenantry/tenantry/internal/pgserver/dsn"
	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
	"github.com/tenantry/tenantry/migrator"
	"github.com/tenantry/tenantry/plugin"
	"github.com/tenantry/tenantry/scope"
)

// denied is what PostgreSQL says to a role without the right.
const denied = "42501"

func TestARoleReachesItsOwnTablesAlone(t *testing.T) {
	t.Parallel()
	c, db, _ := service(t, catalog.WithRoles())
	prefix := unique("role")
	a, b := create(t, c, catalog.New{ID: prefix + "-a"}), create(t, c, catalog.New{ID: prefix + "-b"})
	works(t, db, a.ID.String())
	works(t, db, b.ID.String())
	asA := db.WithContext(as(t, a.ID.String()))
	for _, sql := range []string{
		"select * from " + b.Schema + ".invoices",
		"select * from " + b.Schema + ".migrations",
		"insert into " + b.Schema + ".invoices (title) values ('x')",
		"update " + b.Schema + ".invoices set title = 'x'",
		"delete from " + b.Schema + ".invoices",
		"truncate " + b.Schema + ".invoices",
		"drop table " + b.Schema + ".invoices",
		"drop schema " + b.Schema + " cascade",
		"alter table " + b.Schema + ".invoices add column x int",
		"create table " + b.Schema + ".x (id int)",
		"select nextval('" + b.Schema + ".invoices_id_seq')",
		// its own tables are not its to change
		"truncate invoices",
		"drop table invoices",
		"alter table invoices add column x int",
		"create table x (id int)",
		"create table " + a.Schema + ".x (id int)",
		"create index on invoices (title)",
		"create schema x",
		"drop schema " + a.Schema + " cascade",
		"create role " + prefix + "x",
		"alter role " + a.Role + " superuser",
		"insert into migrations values ('x')",
		"update migrations set id = 'x'",
		"delete from migrations",
		// nor is the catalog
		"select * from tenantry.tenants",
		"select * from tenantry.servers",
		"select * from tenantry.identity",
		"update tenantry.hosts set tenant = ''",
	} {
		if err := asA.Exec(sql).Error; sqlState(err) != denied {
			t.Errorf("%s: got error %v, want %s", sql, err, denied)
		}
	}
	for _, sql := range []string{
		"insert into invoices (title) values ('mine')",
		"update " + a.Schema + ".invoices set title = 'mine too' where title = 'mine'",
		"delete from invoices where title = 'mine too'",
		"select nextval('invoices_id_seq')",
		"select setval('invoices_id_seq', 100)",
		"select * from migrations",
	} {
		if err := asA.Exec(sql).Error; err != nil {
			t.Errorf("%s: %v", sql, err)
		}
	}
	works(t, db, b.ID.String())
}

func TestARoleEndsWithItsStatement(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	c := open(t, dsn, catalog.WithRoles())
	db := use(t, dsn, c, nil, plugin.WithMaxConns(1))
	prefix := unique("turn")
	a, b := create(t, c, catalog.New{ID: prefix + "-a"}), create(t, c, catalog.New{ID: prefix + "-b"})
	pids := map[int]bool{}
	is := func(db *gorm.DB, want string) {
		t.Helper()
		var got struct {
			Role string
			PID  int
		}
		if err := db.Raw("select current_user as role, pg_backend_pid() as pid").Scan(&got).Error; err != nil || got.Role != want {
			t.Errorf("got role %q, %v, want %q", got.Role, err, want)
		}
		pids[got.PID] = true
	}
	for range 3 {
		for _, tenant := range []catalog.Tenant{a, b} {
			db := db.WithContext(as(t, tenant.ID.String()))
			is(db, tenant.Role)
			if err := db.Exec("select 1/0").Error; err == nil {
				t.Error("no error")
			}
			err := db.Transaction(func(tx *gorm.DB) error {
				is(tx, tenant.Role)
				return tx.Transaction(func(tx *gorm.DB) error { is(tx, tenant.Role); return nil })
			})
			if err != nil {
				t.Error(err)
			}
		}
	}
	if len(pids) != 1 {
		t.Errorf("%d connections, want all on one", len(pids))
	}
	// A role that somebody sets outlives neither.
	login := one[string](t, admin(t, dsn), "select current_user")
	for _, sql := range []string{"set role " + b.Role, "set session authorization " + b.Role, "select set_config('role', '" + b.Role + "', false)"} {
		if err := db.WithContext(as(t, a.ID.String())).Exec(sql).Error; err != nil {
			t.Error(err)
		}
		is(db.WithContext(scope.Shared(t.Context())), login)
		is(db.WithContext(as(t, a.ID.String())), a.Role)
	}
}

// TestWhatTheConnectionItselfMayDo documents the limit of a role: SQL that can
// reset it has the rights of the login.
func TestWhatTheConnectionItselfMayDo(t *testing.T) {
	t.Parallel()
	c, db, dsn := service(t, catalog.WithRoles())
	prefix := unique("reset")
	a, b := create(t, c, catalog.New{ID: prefix + "-a"}), create(t, c, catalog.New{ID: prefix + "-b"})
	d := create(t, c, ownDatabase(prefix+"-d"))
	login := one[string](t, admin(t, dsn), "select current_user")
	err := db.WithContext(as(t, a.ID.String())).Transaction(func(tx *gorm.DB) error {
		var user string
		if err := tx.Raw("select current_user").Scan(&user).Error; err != nil || user != a.Role {
			t.Errorf("got %q, %v", user, err)
		}
		if err := tx.Exec("reset role").Error; err != nil {
			return err
		}
		if err := tx.Raw("select current_user").Scan(&user).Error; err != nil || user != login {
			t.Errorf("after RESET ROLE: got %q, %v, want %q", user, err, login)
		}
		return tx.Exec("select * from " + b.Schema + ".invoices").Error
	})
	if err != nil {
		t.Error(err)
	}
	// A tenant with a database of its own logs in as itself: there is nothing above.
	err = db.WithContext(as(t, d.ID.String())).Transaction(func(tx *gorm.DB) error {
		var user string
		if err := tx.Exec("reset role").Error; err != nil {
			return err
		}
		if err := tx.Raw("select current_user").Scan(&user).Error; err != nil || user != d.Role {
			t.Errorf("own login: got %q, %v, want %q", user, err, d.Role)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestALaterMigrationServesTheRole(t *testing.T) {
	t.Parallel()
	c, db, _ := service(t, catalog.WithRoles())
	prefix := unique("later")
	ids := []string{prefix + "-s", prefix + "-d"}
	create(t, c, catalog.New{ID: ids[0]})
	create(t, c, ownDatabase(ids[1]))
	if _, err := migrator.New(db, c, append(migrations(), second())).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, id := range ids {
		db := db.WithContext(as(t, id))
		if err := db.Exec("insert into notes values (1, 'x')").Error; err != nil {
			t.Errorf("%s: %v", id, err)
		}
		for _, sql := range []string{"drop table notes", "truncate notes", "delete from migrations"} {
			if err := db.Exec(sql).Error; sqlState(err) != denied {
				t.Errorf("%s: %s: got error %v, want %s", id, sql, err, denied)
			}
		}
	}
}

// login returns dsn for another user and database.
func login(t *testing.T, dsn, user, password, database string) string {
	t.Helper()
	_, address, err := pgdsn.Address(dsn)
	if err != nil {
		t.Fatal(err)
	}
	return pgdsn.URL(address, user, password, database)
}

func TestADatabaseIsOpenToItsOwnLoginAlone(t *testing.T) {
	t.Parallel()
	c, db, dsn := service(t)
	pool, prefix := admin(t, dsn), unique("door")
	a, b := create(t, c, ownDatabase(prefix+"-a")), create(t, c, ownDatabase(prefix+"-b"))
	works(t, db, a.ID.String())
	execute(t, pool, "create role "+prefix+" login password 'secret'")
	t.Cleanup(func() { execute(t, pool, "drop role "+prefix) })
	execute(t, pool, "alter role "+b.Role+" password 'secret'")
	for _, user := range []string{b.Role, prefix} {
		conn, err := pgx.Connect(t.Context(), login(t, dsn, user, "secret", a.Database))
		if sqlState(err) != denied {
			t.Errorf("%s in the database of another: got error %v, want %s", user, err, denied)
		}
		if err == nil {
			_ = conn.Close(t.Context())
		}
	}
	for _, sql := range []string{
		"create table x (id int)", "create schema x", "drop table invoices", "truncate invoices", "alter table invoices add column x int",
		"create role x" + prefix, "create database x" + prefix, "delete from migrations", "alter role " + a.Role + " createdb",
	} {
		if err := db.WithContext(as(t, a.ID.String())).Exec(sql).Error; sqlState(err) != denied {
			t.Errorf("%s: got error %v, want %s", sql, err, denied)
		}
	}
	works(t, db, a.ID.String())
}

// administrator returns the connection string of a master database that belongs
// to a role without the rights of a superuser.
func administrator(t *testing.T) (dsn string, super *pgxpool.Pool) {
	t.Helper()
	server, name := admin(t, pgtest.DSN(t)), unique("boss")
	execute(t, server, "create role "+name+" login createdb createrole password 'secret'")
	t.Cleanup(func() { execute(t, server, "drop role "+name) })
	database := pgtest.Database(t)
	super = admin(t, database)
	master := one[string](t, super, "select current_database()")
	execute(t, super, fmt.Sprintf("alter database %s owner to %s", pgx.Identifier{master}.Sanitize(), name))
	return login(t, database, name, "secret", master), super
}

// TestAnAdministratorNeedNotBeASuperuser makes, uses and drops tenants as one who
// may create databases and roles.
func TestAnAdministratorNeedNotBeASuperuser(t *testing.T) {
	t.Parallel()
	for name, opts := range map[string][]catalog.Option{"without roles": nil, "with roles": {catalog.WithRoles()}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dsn, super := administrator(t)
			c := open(t, dsn, opts...)
			db := use(t, dsn, c, nil)
			prefix := unique("plain")
			for i, kind := range []catalog.Kind{catalog.OwnSchema, catalog.OwnDatabase, catalog.OwnSchema, catalog.OwnDatabase} {
				id := fmt.Sprintf("%s-%d", prefix, i)
				create(t, c, catalog.New{ID: id, Kind: kind})
				works(t, db, id)
			}
			if _, err := migrator.New(db, c, append(migrations(), second())).Run(t.Context()); err != nil {
				t.Error(err)
			}
			mustMatch(t, c, super, prefix)
			for i := range 3 { // the last one keeps the template
				id := fmt.Sprintf("%s-%d", prefix, i)
				// its connections are open
				if err := db.WithContext(as(t, id)).Exec("insert into notes values (1, 'x')").Error; err != nil {
					t.Error(err)
				}
				if err := c.Drop(t.Context(), parse(t, id), id); err != nil {
					t.Error(err)
				}
			}
			mustMatch(t, c, super, prefix)
			next := open(t, dsn, append(slices.Clone(opts), catalog.WithMigrations(append(migrations(), second())))...)
			comment(t, super, templates(t, super)[0], "tenantry "+identity(t, super)+" template 2020-01-01T00:00:00Z")
			create(t, next, ownDatabase(prefix+"-next"))
			if left := templates(t, super); len(left) != 1 {
				t.Errorf("templates are %q", left)
			}
		})
	}
}
