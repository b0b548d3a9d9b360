package main

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/tenantry/tenantry/internal/pgserver/dsn"
)

const (
	makers = 4   // connections that make schemas
	chunk  = 100 // schemas that one connection makes: it keeps memory for each
)

// setup makes the tables of all tenants, and those that have no tenant. The first
// databases tenants have a database, too.
func (h *host) setup(ctx context.Context, tenants []tenant, databases int, progress *progress) error {
	if err := h.batch(ctx, h.run, ownTables(plainSchema, plainMarker)); err != nil {
		return fmt.Errorf("bench: make the plain tables: %w", err)
	}
	if err := h.batch(ctx, h.run, sharedTables(h.role(), len(tenants))...); err != nil {
		return fmt.Errorf("bench: make the shared tables: %w", err)
	}
	if err := h.makeSchemas(ctx, tenants, progress); err != nil {
		return fmt.Errorf("bench: make the schemas: %w", err)
	}
	for i, t := range tenants[:min(databases, len(tenants))] {
		progress.say("made %d of %d databases", i, databases)
		if err := h.makeDatabase(ctx, t); err != nil {
			return fmt.Errorf("bench: make a database: %w", err)
		}
	}
	return h.exec(ctx, "checkpoint")
}

func (h *host) makeSchemas(ctx context.Context, tenants []tenant, progress *progress) error {
	var done atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(makers)
	for first := 0; first < len(tenants); first += chunk {
		some := tenants[first:min(first+chunk, len(tenants))]
		group.Go(func() error {
			var all []string
			for _, t := range some {
				all = append(all, ownTables(t.schema, t.marker))
			}
			err := h.batch(ctx, h.run, all...)
			progress.say("made %d of %d schemas", done.Add(int64(len(some))), len(tenants))
			return err
		})
	}
	return group.Wait()
}

func (h *host) makeDatabase(ctx context.Context, t tenant) error {
	if err := h.exec(ctx, "create database "+quote(t.database)); err != nil {
		return err
	}
	return h.batch(ctx, t.database, ownTables("public", t.marker))
}

// batch runs messages on a connection of their own.
func (h *host) batch(ctx context.Context, database string, messages ...string) error {
	at, err := dsn.WithDatabase(h.server.DSN(), database)
	if err != nil {
		return err
	}
	conn, err := pgx.Connect(ctx, at)
	if err != nil {
		return err
	}
	defer closeConn(ctx, conn)
	for _, sql := range messages {
		if _, err := conn.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol); err != nil {
			return err
		}
	}
	return nil
}

func closeConn(ctx context.Context, conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	_ = conn.Close(ctx)
}
