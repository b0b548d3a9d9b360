package main

import (
	"context"
	"database/sql"
	"errors"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverdatabasesql"
	"github.com/riverqueue/river/rivermigrate"
	"github.com/riverqueue/river/rivertype"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"

	"github.com/tenantry/tenantry/catalog"
	"github.com/tenantry/tenantry/plugin"
)

// riverSchema has river's tables. It is no tenant's, and on no search_path: river
// writes its name in front of each.
const riverSchema = "river"

type service struct {
	tenants  *catalog.Catalog
	db       *gorm.DB
	tenantry *plugin.Plugin
	pool     *pgxpool.Pool // river's own, without tenants
	jobs     *river.Client[*sql.Tx]
}

// open opens the database and begins to work jobs.
func open(ctx context.Context, dsn string) (*service, error) {
	s := &service{}
	err := s.openDatabase(ctx, dsn)
	if err == nil {
		err = s.openJobs(ctx, dsn)
	}
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func (s *service) openDatabase(ctx context.Context, dsn string) (err error) {
	if s.tenants, err = catalog.Open(ctx, dsn, catalog.WithMigrations(migrations())); err != nil {
		return err
	}
	if s.db, err = gorm.Open(postgres.Open(dsn), &gorm.Config{}); err != nil {
		return err
	}
	p := plugin.New(s.tenants.Strategy())
	if err = s.db.Use(p); err == nil {
		s.tenantry = p
	}
	return err
}

func (s *service) openJobs(ctx context.Context, dsn string) (err error) {
	if s.pool, err = pgxpool.New(ctx, dsn); err != nil {
		return err
	}
	driver := riverdatabasesql.NewWithPgxListener(stdlib.OpenDBFromPool(s.pool), s.pool)
	if err := makeTables(ctx, s.pool, driver); err != nil {
		return err
	}
	workers := river.NewWorkers()
	river.AddWorker(workers, &sender{db: s.db})
	client, err := river.NewClient(driver, &river.Config{
		Schema:     riverSchema,
		Middleware: []rivertype.Middleware{&tenancy{tenants: s.tenants}},
		Queues:     map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: 10}},
		Workers:    workers,
	})
	if err != nil {
		return err
	}
	if err := client.Start(context.WithoutCancel(ctx)); err != nil {
		return err
	}
	s.jobs = client
	return nil
}

// makeTables brings river's tables up to date.
func makeTables(ctx context.Context, pool *pgxpool.Pool, driver *riverdatabasesql.Driver) error {
	if _, err := pool.Exec(ctx, "create schema if not exists "+riverSchema); err != nil {
		return err
	}
	m, err := rivermigrate.New(driver, &rivermigrate.Config{Schema: riverSchema})
	if err != nil {
		return err
	}
	_, err = m.Migrate(ctx, rivermigrate.DirectionUp, nil)
	return err
}

// close waits for the jobs that run, then closes what they use.
func (s *service) close() (err error) {
	if s.jobs != nil {
		err = s.jobs.Stop(context.Background())
	}
	if s.pool != nil {
		s.pool.Close()
	}
	if s.tenantry != nil {
		err = errors.Join(err, s.tenantry.Close())
	}
	if s.tenants != nil {
		err = errors.Join(err, s.tenants.Close())
	}
	return err
}
