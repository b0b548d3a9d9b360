package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tenantry/tenantry/internal/pgserver"
	"github.com/tenantry/tenantry/internal/pgserver/dsn"
)

// host is the server, and what the run has made there.
type host struct {
	server   *pgserver.Server
	admin    *pgxpool.Pool // of the superuser; never used while something is measured
	own      bool          // it runs here and is ours: /proc shows its processes
	run      string        // the database's name, and the start of all others'
	password string        // of the role
}

// appPrefix is the start of the application_name of each pattern.
const appPrefix = "bench: "

func (h *host) role() string { return h.run + "_rls" }

// settings let a measurement repeat: no work in the background, no durability.
func settings(connections int) map[string]string {
	return map[string]string{
		"max_connections":                 strconv.Itoa(connections),
		"max_locks_per_transaction":       "512",
		"shared_buffers":                  "1GB",
		"max_wal_size":                    "8GB",
		"checkpoint_timeout":              "1h",
		"wal_level":                       "minimal",
		"max_wal_senders":                 "0",
		"autovacuum":                      "off",
		"jit":                             "off",
		"max_parallel_workers_per_gather": "0",
	}
}

// startHost starts the server and makes the database of the run.
func startHost(ctx context.Context, connections int, log func(string)) (*host, error) {
	opts := []pgserver.Option{pgserver.WithLog(log)}
	for name, value := range settings(connections) {
		opts = append(opts, pgserver.WithSetting(name, value))
	}
	server, err := pgserver.Start(ctx, opts...)
	if err != nil {
		return nil, err
	}
	h := &host{
		server:   server,
		own:      os.Getenv(pgserver.EnvDSN) == "",
		run:      "bench_" + strings.ToLower(rand.Text()[:8]),
		password: rand.Text(),
	}
	if err := h.prepare(ctx); err != nil {
		return nil, errors.Join(err, h.stop())
	}
	return h, nil
}

func (h *host) prepare(ctx context.Context) (err error) {
	own, err := dsn.With(h.server.DSN(), "application_name", "bench")
	if err != nil {
		return err
	}
	if h.admin, err = pgxpool.New(ctx, own); err != nil {
		return err
	}
	if err := h.exec(ctx, "create database "+quote(h.run)); err != nil {
		return err
	}
	return h.exec(ctx, fmt.Sprintf("create role %s login nosuperuser nobypassrls password %s", quote(h.role()), literal(h.password)))
}

func (h *host) exec(ctx context.Context, sql string) error {
	_, err := h.admin.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol)
	return err
}

// stop ends the server. On one that is not ours it drops what the run has made.
func (h *host) stop() error {
	var err error
	if h.admin != nil {
		if !h.own {
			err = h.drop()
		}
		h.admin.Close()
	}
	return errors.Join(err, h.server.Stop())
}

func (h *host) drop() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	names, err := h.databases(ctx)
	for _, name := range names {
		err = errors.Join(err, h.exec(ctx, "drop database "+quote(name)+" with (force)"))
	}
	return errors.Join(err, h.exec(ctx, "drop role if exists "+quote(h.role())))
}

func (h *host) databases(ctx context.Context) ([]string, error) {
	rows, err := h.admin.Query(ctx, "select datname from pg_database where starts_with(datname, $1)", h.run)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

// backends returns the process ids of a pattern's connections.
func (h *host) backends(ctx context.Context, app string) ([]int, error) {
	rows, err := h.admin.Query(ctx, "select pid from pg_stat_activity where application_name = $1", app)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[int])
}

// quiet waits until no pattern has a connection any more: they end some time after they
// were closed.
func (h *host) quiet(ctx context.Context) error {
	retry := time.NewTicker(10 * time.Millisecond)
	defer retry.Stop()
	for {
		var n int
		err := h.admin.QueryRow(ctx, "select count(*) from pg_stat_activity where starts_with(application_name, $1)", appPrefix).Scan(&n)
		if err != nil || n == 0 {
			return err
		}
		select {
		case <-retry.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// setting returns the server's value of a setting, as SHOW prints it.
func (h *host) setting(ctx context.Context, name string) (value string, err error) {
	err = h.admin.QueryRow(ctx, "select current_setting($1)", name).Scan(&value)
	return value, err
}
