package catalog

import (
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-gormigrate/gormigrate/v2"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/tenantry/tenantry/internal/driver"
	"github.com/tenantry/tenantry/internal/pgerr"
	"github.com/tenantry/tenantry/plugin"
)

// masterConns is how many connections a catalog has to the master at most: for
// each tenant at work one that holds its lock and one for statements, and some
// for lookups.
const masterConns = 2*atWork + 2

// lookupConns is how many connections lookups have for themselves: what makes,
// drops and lists tenants can't take them away.
const lookupConns = 2

// spareConns is how many more the making of spares needs: one that holds its lock
// and one for statements.
const spareConns = 2

var (
	//go:embed tables.sql
	tables string
	//go:embed spares.sql
	sparesTable string
)

// tableMigrations are those of the master's own tables.
func tableMigrations() []*gormigrate.Migration {
	return []*gormigrate.Migration{{
		ID:      "1-tenants",
		Migrate: func(tx *gorm.DB) error { return tx.Exec(tables).Error },
	}, {
		ID:      "2-spares",
		Migrate: func(tx *gorm.DB) error { return tx.Exec(sparesTable).Error },
	}, {
		ID: "3-serving",
		Migrate: func(tx *gorm.DB) error {
			return tx.Exec(`alter table tenantry.servers add column serving_conn bytea check (serving_conn is null or name <> 'main'),
				add column serving_role text not null default '', add check ((serving_conn is null) = (serving_role = ''))`).Error
		},
	}}
}

// master is a pool on the master database, and GORM on it.
type master struct {
	*pgxpool.Pool
	db *gorm.DB
}

func (c *Catalog) openMaster(ctx context.Context, conns int32) (*master, error) {
	cfg, err := c.connConfig(Main, plugin.Database{Server: c.dsn()})
	if err != nil {
		return nil, fmt.Errorf("catalog: the master database: %w", err)
	}
	cfg.MaxConns, cfg.MinConns, cfg.MinIdleConns = conns, 0, 0
	// Behind a pooler the next round trip may go to a connection on which somebody
	// else has prepared a statement: each statement is one.
	cfg.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeExec
	cfg.ConnConfig.StatementCacheCapacity, cfg.ConnConfig.DescriptionCacheCapacity = 0, 0
	driver.SetFormats(cfg.ConnConfig)
	bare := cfg.Copy()
	driver.SetUntrackedFormats(cfg.ConnConfig)
	m, err := connect(ctx, cfg)
	if driver.RefusesParameter(err) {
		m, err = connect(ctx, bare)
	}
	if err != nil {
		return nil, err
	}
	m.db, err = gorm.Open(postgres.New(postgres.Config{Conn: m.sql()}), quiet())
	if err != nil {
		return nil, errors.Join(fmt.Errorf("catalog: %w", err), m.close())
	}
	return m, nil
}

// connect opens the pool, and makes sure of a connection.
func connect(ctx context.Context, cfg *pgxpool.Config) (*master, error) {
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("catalog: %w", err)
	}
	m := &master{Pool: pool}
	if err := m.Ping(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("catalog: connect to the master database: %w", err), m.close())
	}
	return m, nil
}

// sql returns the pool for GORM.
func (m *master) sql() *sql.DB {
	db := sql.OpenDB(redacting{stdlib.GetPoolConnector(m.Pool)})
	db.SetMaxIdleConns(0) // the pool keeps them
	return db
}

// redacting connects without the configuration in its errors.
type redacting struct{ sqldriver.Connector }

// Connect connects.
func (r redacting) Connect(ctx context.Context) (sqldriver.Conn, error) {
	c, err := r.Connector.Connect(ctx)
	return c, driver.Redact(err)
}

// Begin begins a transaction past GORM.
func (m *master) Begin(ctx context.Context) (pgx.Tx, error) {
	tx, err := m.Pool.Begin(ctx)
	return tx, driver.Redact(err)
}

// Ping asks for a sign of life.
func (m *master) Ping(ctx context.Context) error { return driver.Redact(m.Pool.Ping(ctx)) }

// close closes both. It may be called on nil.
func (m *master) close() (err error) {
	if m == nil {
		return nil
	}
	if m.db != nil {
		if pool, noPool := m.db.DB(); noPool == nil { // it has a goroutine
			err = pool.Close()
		}
	}
	m.Close()
	return err
}

// quiet is a configuration under which GORM logs nothing: errors are returned,
// and statements may hold what is nobody's business.
func quiet() *gorm.Config {
	return &gorm.Config{Logger: logger.Discard, DisableAutomaticPing: true}
}

// makeTables makes the catalog's tables or brings them up to date, and returns the
// master's identity. Where they are up to date it takes no lock.
func makeTables(ctx context.Context, db *gorm.DB) (identity string, err error) {
	db = db.WithContext(ctx)
	current, err := upToDate(db)
	for try := 0; err == nil && !current; try++ {
		err = db.Transaction(migrateTables)
		if pgerr.Is(err, pgerr.DuplicateSchema, pgerr.DuplicateTable, pgerr.UniqueViolation) && try < 3 { // another process made the schema or the table just now
			err = nil
			continue
		}
		current = true
	}
	if err == nil {
		err = db.Raw("select id from tenantry.identity").Scan(&identity).Error
	}
	if pgerr.Is(err, pgerr.LockNotAvailable) {
		err = fmt.Errorf("%w: another session has locked tenantry.migrations for more than %s%s", err, tablesWait, lockedBy(db))
	}
	if err != nil {
		return "", fmt.Errorf("catalog: make the tables of the master database: %w", err)
	}
	return identity, nil
}

// upToDate reports whether all migrations of the catalog's own tables are applied.
func upToDate(db *gorm.DB) (bool, error) {
	var there bool
	err := db.Raw("select pg_catalog.to_regclass('tenantry.migrations') is not null").Scan(&there).Error
	if err != nil || !there {
		return false, err
	}
	var applied []string
	if err := db.Raw("select id from tenantry.migrations").Scan(&applied).Error; err != nil {
		return false, err
	}
	for _, m := range tableMigrations() {
		if !slices.Contains(applied, m.ID) {
			return false, nil
		}
	}
	return true, nil
}

// tablesWait is how long a process waits for another one that migrates the catalog's
// tables.
const tablesWait = 10 * time.Second

// migrateTables migrates the catalog's tables under a lock of their own list. Nobody
// without rights in the schema can hold that lock, as anybody can hold an advisory lock.
func migrateTables(tx *gorm.DB) error {
	err := run(tx,
		fmt.Sprintf("set local lock_timeout = %d", tablesWait.Milliseconds()),
		// IF NOT EXISTS would ask for the right to create a schema in any case.
		`do $$ begin
			if pg_catalog.to_regnamespace('tenantry') is null then create schema tenantry; end if;
			if pg_catalog.to_regclass('tenantry.migrations') is null then create table tenantry.migrations (id varchar(255) primary key); end if;
		end $$`,
		"lock table tenantry.migrations in share row exclusive mode")
	if err != nil {
		return err
	}
	options := gormigrate.Options{TableName: "tenantry.migrations"}
	return gormigrate.New(tx, &options, tableMigrations()).Migrate()
}

// lockedBy names the sessions that hold a lock of the list of migrations.
func lockedBy(db *gorm.DB) string {
	var holders []string
	err := db.Raw(`select 'process ' || l.pid || ' of ' || coalesce(a.usename, 'an unknown user') from pg_catalog.pg_locks l
		left join pg_catalog.pg_stat_activity a on a.pid = l.pid
		where l.granted and l.relation = pg_catalog.to_regclass('tenantry.migrations') and l.pid <> pg_catalog.pg_backend_pid()`).Scan(&holders).Error
	if err != nil || len(holders) == 0 {
		return ""
	}
	return " (" + strings.Join(holders, ", ") + "): end it, or wait"
}
