package catalog

import (
	"context"
	_ "embed"
	"errors"
	"fmt"

	"github.com/go-gormigrate/gormigrate/v2"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"
)

// masterConns is how many connections a catalog has to the master at most: for
// each tenant at work one that holds its lock and one for statements, and some
// for lookups.
const masterConns = 2*atWork + 2

//go:embed tables.sql
var tables string

// tableMigrations are those of the master's own tables.
func tableMigrations() []*gormigrate.Migration {
	return []*gormigrate.Migration{{
		ID:      "1-tenants",
		Migrate: func(tx *gorm.DB) error { return tx.Exec(tables).Error },
	}}
}

func openMaster(ctx context.Context, dsn string) (*pgxpool.Pool, error) {
	cfg, err := pgxpool.ParseConfig(dsn)
	if err != nil { // pgx hides a password only where it finds it
		return nil, errors.New("catalog: the connection string of the master database can't be parsed, and isn't shown because it may hold a password: try it with psql")
	}
	cfg.MaxConns, cfg.MinConns, cfg.MinIdleConns = masterConns, 0, 0
	// Behind a pooler the next round trip may go to a connection on which somebody
	// else has prepared a statement: each statement is one.
	cfg.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeExec
	cfg.ConnConfig.StatementCacheCapacity, cfg.ConnConfig.DescriptionCacheCapacity = 0, 0
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("catalog: %w", err)
	}
	if err := pool.Ping(ctx); err != nil {
		pool.Close()
		return nil, fmt.Errorf("catalog: connect to the master database: %w", err)
	}
	return pool, nil
}

func gormOn(pool *pgxpool.Pool) (*gorm.DB, error) {
	db, err := gorm.Open(postgres.New(postgres.Config{Conn: stdlib.OpenDBFromPool(pool)}), quiet())
	if err != nil {
		return nil, fmt.Errorf("catalog: %w", err)
	}
	return db, nil
}

// quiet is a configuration under which GORM logs nothing: errors are returned,
// and statements may hold what is nobody's business.
func quiet() *gorm.Config {
	return &gorm.Config{Logger: logger.Discard, DisableAutomaticPing: true}
}

// makeTables makes the catalog's tables or brings them up to date, and returns
// the master's identity. The lock comes before everything else: processes start
// together.
func makeTables(ctx context.Context, db *gorm.DB) (identity string, err error) {
	err = db.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
		for _, sql := range []string{
			"select pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended('tenantry/catalog/tables', 0))",
			// IF NOT EXISTS would ask for the right to create it in any case.
			"do $$ begin if pg_catalog.to_regnamespace('tenantry') is null then create schema tenantry; end if; end $$",
		} {
			if err := tx.Exec(sql).Error; err != nil {
				return err
			}
		}
		options := gormigrate.Options{TableName: "tenantry.migrations"}
		if err := gormigrate.New(tx, &options, tableMigrations()).Migrate(); err != nil {
			return err
		}
		return tx.Raw("select id from tenantry.identity").Scan(&identity).Error
	})
	if err != nil {
		return "", fmt.Errorf("catalog: make the tables of the master database: %w", err)
	}
	return identity, nil
}
