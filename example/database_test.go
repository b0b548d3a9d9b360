package main_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/tenantry/tenantry/catalog"
	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
	"github.com/tenantry/tenantry/scope"
)

// database returns the connection string of a new database for the program. What
// customers have beside it on the server goes with the test, too.
func database(t *testing.T) string {
	t.Helper()
	dsn := pgtest.Database(t)
	t.Cleanup(func() {
		tenants := openCatalog(t, dsn)
		for tenant, err := range tenants.List(context.Background(), catalog.Filter{}) {
			if err == nil {
				err = tenants.Drop(context.Background(), tenant.ID, tenant.ID.String())
			}
			if err != nil {
				t.Error(err)
			}
		}
		if err := tenants.Close(); err != nil {
			t.Error(err)
		}
		dropTemplates(t, dsn)
	})
	return dsn
}

// dropTemplates drops the databases from which those of customers were copied.
func dropTemplates(t *testing.T, dsn string) {
	t.Helper()
	conn := connect(t, dsn)
	defer conn.Close(context.Background())
	names, err := query(conn, "select datname from pg_database, tenantry.identity where starts_with(datname, 'tenantry_' || id || '_')")
	for _, name := range names {
		if err == nil {
			_, err = conn.Exec(context.Background(), "alter database "+name+" is_template false")
		}
		if err == nil {
			_, err = conn.Exec(context.Background(), "drop database "+name+" with (force)")
		}
	}
	if err != nil {
		t.Error(err)
	}
}

// openCatalog opens the catalog as another process does, such as the operator's.
// Close it.
func openCatalog(t *testing.T, dsn string) *catalog.Catalog {
	t.Helper()
	tenants, err := catalog.Open(context.Background(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	return tenants
}

// operate calls f with the catalog, as an operator does beside the program.
func operate(t *testing.T, dsn string, f func(context.Context, *catalog.Catalog) error) {
	t.Helper()
	tenants := openCatalog(t, dsn)
	defer tenants.Close()
	if err := f(t.Context(), tenants); err != nil {
		t.Fatal(err)
	}
}

func parse(t *testing.T, id string) scope.Tenant {
	t.Helper()
	tenant, err := scope.Parse(id)
	if err != nil {
		t.Fatal(err)
	}
	return tenant
}

// tenantOf returns what the catalog says of a customer.
func tenantOf(t *testing.T, dsn, id string) (tenant catalog.Tenant) {
	t.Helper()
	operate(t, dsn, func(ctx context.Context, c *catalog.Catalog) (err error) {
		tenant, err = c.Get(ctx, parse(t, id))
		return err
	})
	return tenant
}

func connect(t *testing.T, dsn string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(context.Background(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

func query(conn *pgx.Conn, sql string) ([]string, error) {
	rows, err := conn.Query(context.Background(), sql)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

// execute runs SQL in the program's database, past the program.
func execute(t *testing.T, dsn, sql string) {
	t.Helper()
	conn := connect(t, dsn)
	defer conn.Close(context.Background())
	if _, err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatal(err)
	}
}
