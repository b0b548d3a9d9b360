package doctor_test

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/tenantry/tenantry/catalog"
	"github.com/tenantry/tenantry/doctor"
	"github.com/tenantry/tenantry/internal/pgserver/dsn"
	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
	"github.com/tenantry/tenantry/migrator"
	"github.com/tenantry/tenantry/plugin"
)

const password = "s3cret"

// system is a service as it should be: a login without more rights than it needs,
// that owns its database.
type system struct {
	admin string // a superuser's connection string, past everything
	login string // the name of who administers, and serves where there is no catalog
	dsn   string // its connection string

	serving    string // the name of who serves where there is a catalog
	servingDSN string // its connection string

	db *gorm.DB

	catalog *catalog.Catalog
	keys    catalog.FixedKeys
}

// on makes a login and a database of its own on a server.
func on(t testing.TB, server string) *system {
	t.Helper()
	s := &system{admin: pgtest.DatabaseOn(t, server), login: unique("app")}
	cfg, err := dsn.Parse(s.admin)
	if err != nil {
		t.Fatal(err)
	}
	s.dsn = dsn.URL(net.JoinHostPort(cfg.Host, strconv.Itoa(int(cfg.Port))), s.login, password, cfg.Database)
	s.plant(t, "create role "+s.login+" login createdb createrole password '"+password+"'",
		"alter database "+cfg.Database+" owner to "+s.login, "alter schema public owner to "+s.login)
	t.Cleanup(func() {
		s.plant(t, "alter database "+cfg.Database+" owner to current_user", "reassign owned by "+s.login+" to current_user", "drop owned by "+s.login, "drop role "+s.login)
	})
	return s
}

// withCatalog is a service with a catalog and two tenants: acme has a schema, and
// globex a database.
func withCatalog(t testing.TB, server string) *system {
	t.Helper()
	s := bare(t, server)
	s.create(t, catalog.New{ID: "acme"})
	s.create(t, catalog.New{ID: "globex", Kind: catalog.OwnDatabase})
	return s
}

// bare is a service with a catalog, and no tenants yet.
func bare(t testing.TB, server string, opts ...catalog.Option) *system {
	t.Helper()
	s := on(t, server)
	s.splitLogins(t)
	secret := make([]byte, 32)
	_, _ = rand.Read(secret) // never fails
	key, err := catalog.NewKey("k", secret)
	if err != nil {
		t.Fatal(err)
	}
	s.keys = catalog.FixedKeys{key}
	opts = append([]catalog.Option{catalog.WithKeys(s.keys), catalog.WithRoles(), catalog.WithServingRole(s.serving), catalog.WithoutTemplates(), catalog.WithMigrations(migrations())}, opts...)
	if s.catalog, err = catalog.Open(t.Context(), s.dsn, opts...); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.clear(t) })
	s.open(t, s.servingDSN, s.catalog.Strategy())
	return s
}

// splitLogins makes another login, which serves.
func (s *system) splitLogins(t testing.TB) {
	t.Helper()
	s.serving = unique("serving")
	cfg, err := dsn.Parse(s.dsn)
	if err != nil {
		t.Fatal(err)
	}
	s.servingDSN = dsn.URL(net.JoinHostPort(cfg.Host, strconv.Itoa(int(cfg.Port))), s.serving, password, cfg.Database)
	s.plant(t, "create role "+s.serving+" login noinherit password '"+password+"'")
	t.Cleanup(func() { s.plant(t, "drop owned by "+s.serving, "drop role "+s.serving) })
}

// clear drops the tenants, whatever a test has done to them.
func (s *system) clear(t testing.TB) {
	t.Helper()
	ctx := context.Background()
	for tenant, err := range s.catalog.List(ctx, catalog.Filter{}) {
		if err == nil {
			err = s.catalog.Drop(ctx, tenant.ID, tenant.ID.String())
		}
		if err != nil && !errors.Is(err, catalog.ErrForeign) {
			t.Error(err)
		}
	}
	if err := s.catalog.Close(); err != nil {
		t.Error(err)
	}
	s.dropSpares(t)
}

func migrations() migrator.Migrations {
	return migrator.Migrations{{
		ID: "1-invoices",
		Migrate: func(tx *gorm.DB) error {
			return tx.Exec("create table invoices (id bigserial primary key, title text)").Error
		},
	}}
}

// open opens GORM as the application does.
func (s *system) open(t testing.TB, dsn string, strategy plugin.Strategy, opts ...plugin.Option) {
	t.Helper()
	var err error
	if s.db, err = gorm.Open(postgres.Open(dsn), &gorm.Config{Logger: logger.Discard, DisableAutomaticPing: true}); err != nil {
		t.Fatal(err)
	}
	p := plugin.New(strategy, opts...)
	if err := s.db.Use(p); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
}

func (s *system) create(t testing.TB, n catalog.New) {
	t.Helper()
	if _, err := s.catalog.Create(t.Context(), n); err != nil {
		t.Fatal(err)
	}
}

// tenant returns what the catalog knows of a tenant.
func (s *system) tenant(t testing.TB, id string) catalog.Tenant {
	t.Helper()
	for tenant, err := range s.catalog.List(t.Context(), catalog.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		if tenant.ID.String() == id {
			return tenant
		}
	}
	t.Fatalf("there is no tenant %s", id)
	return catalog.Tenant{}
}

// plant runs statements past everything.
func (s *system) plant(t testing.TB, statements ...string) {
	t.Helper()
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, s.admin)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	for _, sql := range statements {
		if _, err := conn.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
}

// mustFind examines the system, which must have these findings and no others, apart
// from the one on the server's version, and returns the first of them.
func (s *system) mustFind(t testing.TB, ids []string, opts ...doctor.Option) doctor.Finding {
	t.Helper()
	if s.catalog != nil {
		opts = append(opts, doctor.WithCatalog(s.catalog))
	}
	findings, err := doctor.Examine(t.Context(), s.db, opts...)
	if err != nil {
		t.Fatal(err)
	}
	var first doctor.Finding
	var got []string
	for _, f := range findings {
		seen(f)
		mustBeComplete(t, f)
		if f.ID == "server-version" {
			continue
		}
		if got = append(got, f.ID); len(ids) > 0 && f.ID == ids[0] {
			first = f
		}
	}
	if !slices.Equal(got, ids) {
		t.Fatalf("got %v, want %v:\n%+v", got, ids, findings)
	}
	return first
}

// mustBeComplete checks that a finding says everything, and nothing that is secret.
func mustBeComplete(t testing.TB, f doctor.Finding) {
	t.Helper()
	for _, text := range []string{f.ID, f.What, f.Why, f.How} {
		if text == "" || strings.Contains(text, password) || strings.Contains(text, "postgres://") {
			t.Errorf("a text is empty or tells a secret: %+v", f)
		}
	}
}

func mustSay(t testing.TB, f doctor.Finding, severity doctor.Severity, words ...string) {
	t.Helper()
	if f.Severity != severity {
		t.Errorf("got %s, want %s: %+v", f.Severity, severity, f)
	}
	for _, w := range words {
		if !strings.Contains(f.What+f.Why+f.How, w) {
			t.Errorf("%q is missing in %+v", w, f)
		}
	}
}

// unique returns a name that no other test has: roles are the whole server's.
func unique(base string) string {
	random := make([]byte, 4)
	_, _ = rand.Read(random) // never fails
	return base + hex.EncodeToString(random)
}
