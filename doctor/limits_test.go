package doctor_test

import (
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/tenantry/tenantry/doctor"
	"github.com/tenantry/tenantry/internal/pgserver"
	"github.com/tenantry/tenantry/internal/pgserver/dsn"
	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
	"github.com/tenantry/tenantry/plugin"
)

func TestPoolsThatAreLargerThanTheServerAreFound(t *testing.T) {
	t.Parallel()
	server := pgtest.Server(t, pgserver.WithSetting("max_connections", "40"), pgserver.WithSetting("superuser_reserved_connections", "3"))
	s := on(t, server.DSN())
	s.plant(t, "alter role "+s.login+" nocreaterole")
	s.open(t, s.dsn, plugin.BySchema(), plugin.WithMaxConns(10))
	ids := []string{"connections"}
	s.mustFind(t, nil, doctor.WithProcesses(2))
	mustSay(t, s.mustFind(t, ids, doctor.WithProcesses(3)), doctor.Info, "may open 30 connections (base pool 10; 3 processes), and the server takes 37")
	mustSay(t, s.mustFind(t, ids, doctor.WithProcesses(4)), doctor.Problem, "may open 40 connections", "53300")
	mustSay(t, s.mustFind(t, ids, doctor.WithBudget(28)), doctor.Problem, "tenants' databases 28; 1 process")
	s.plant(t, "alter role "+s.login+" connection limit 11")
	mustSay(t, s.mustFind(t, ids), doctor.Info, "the server takes 11")
}

func TestTheCatalogsConnectionsCount(t *testing.T) {
	t.Parallel()
	s := withCatalog(t, pgtest.DSN(t)) // two places: globex's database, and the administrator's
	cfg, err := dsn.Parse(s.dsn)
	if err != nil {
		t.Fatal(err)
	}
	s.plant(t, "alter role "+s.serving+" connection limit 20") // the base pool's: the catalog logs in as another
	s.mustFind(t, nil)
	s.plant(t, "alter role "+s.serving+" connection limit 2")
	mustSay(t, s.mustFind(t, []string{"connections"}), doctor.Problem, "; 1 process), and the server takes 2")
	s.plant(t, "alter role "+s.serving+" connection limit -1", "alter database "+cfg.Database+" connection limit 24")
	mustSay(t, s.mustFind(t, []string{"connections"}), doctor.Problem, "catalog 13, tenants' databases 8; 1 process")
}

// TestALockTableThatIsTooSmallIsFound has a server whose table has room for 200
// locks, and one tenant that grows.
func TestALockTableThatIsTooSmallIsFound(t *testing.T) {
	t.Parallel()
	server := pgtest.Server(t, pgserver.WithSetting("max_connections", "20"), pgserver.WithSetting("max_locks_per_transaction", "10"))
	s := on(t, server.DSN())
	s.plant(t, "alter role "+s.login+" nocreaterole", "create schema tenant_acme", "create schema other")
	s.open(t, s.dsn, plugin.BySchema(), plugin.WithMaxConns(1))
	s.mustFind(t, nil)
	grow(t, s, "tenant_acme", 0, 12)
	mustSay(t, s.mustFind(t, []string{"tenant-locks"}), doctor.Warning, "tenant_acme", "room for some 200 locks")
	grow(t, s, "tenant_acme", 12, 30)
	mustSay(t, s.mustFind(t, []string{"tenant-locks"}), doctor.Problem, "53200")
	grow(t, s, "other", 0, 180)
	mustSay(t, s.mustFind(t, []string{"tenant-locks", "dump-locks"}), doctor.Problem)
}

func grow(t *testing.T, s *system, schema string, from, to int) {
	t.Helper()
	var statements []string
	for i := from; i < to; i++ {
		statements = append(statements, fmt.Sprintf("create table %s.t%d (id bigserial primary key, text text)", schema, i))
	}
	s.plant(t, statements...)
}

// TestLocksAreEstimatedAsTheyAreTaken drops a tenant's schema and looks what that
// locks.
func TestLocksAreEstimatedAsTheyAreTaken(t *testing.T) {
	t.Parallel()
	server := pgtest.Server(t, pgserver.WithSetting("max_connections", "20"), pgserver.WithSetting("max_locks_per_transaction", "40"))
	s := on(t, server.DSN())
	s.plant(t, "alter role "+s.login+" nocreaterole", "create schema tenant_acme", "create type tenant_acme.mood as enum ('fine')")
	for i := range 40 {
		s.plant(t, fmt.Sprintf("create table tenant_acme.t%d (id bigserial primary key, text text unique, mood tenant_acme.mood default 'fine', parent bigint references tenant_acme.t%d)", i, max(0, i-1)))
	}
	s.open(t, s.dsn, plugin.BySchema(), plugin.WithMaxConns(1))
	f := s.mustFind(t, []string{"tenant-locks"})
	var estimated int
	if _, err := fmt.Sscanf(f.What, "The largest tenant's schema, tenant_acme, has %d objects", &estimated); err != nil {
		t.Fatalf("%s: %v", f.What, err)
	}
	taken := locksToDrop(t, s.admin, "tenant_acme")
	t.Logf("%d estimated, %d taken", estimated, taken)
	if estimated < taken*8/10 || estimated > taken*12/10 {
		t.Errorf("estimated %d locks, dropping takes %d", estimated, taken)
	}
}

func locksToDrop(t *testing.T, dsn, schema string) (n int) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	tx, err := conn.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), "drop schema "+schema+" cascade"); err != nil {
		t.Fatal(err)
	}
	if err := tx.QueryRow(t.Context(), "select count(*) from pg_locks where pid = pg_backend_pid()").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}
