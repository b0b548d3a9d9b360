package migrator

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/jackc/pgx/v5"

	"github.com/tenantry/tenantry/scope"
)

// migrateShared applies the migrations of the shared tables, alone: claims need
// the lock that it holds, and those that were made before are waited for.
func (m *Migrator) migrateShared(ctx context.Context, l *ledger) (applied []string, err error) {
	if len(m.shared) == 0 {
		return nil, nil
	}
	ctx = scope.Shared(ctx)
	if pending, err := m.pendingShared(ctx); err != nil || len(pending) == 0 {
		return nil, err
	}
	v := attempt{
		ctx:   ctx,
		lock:  fleetLock,
		ready: l.drain,
		steps: func(applied []string) (steps []step, err error) {
			if unknown := m.shared.unknown(applied); len(unknown) > 0 && !m.unknown {
				return nil, &UnknownError{IDs: unknown}
			}
			for _, migration := range m.shared.without(applied) {
				steps = append(steps, step{migration: migration})
			}
			return steps, nil
		},
	}
	_, err = m.retryLocks(v, func(_ int, err error) {
		if err != nil {
			m.progress(Event{Kind: EventRetrying, Err: err})
		}
	}, func(s step) {
		applied = append(applied, s.migration.ID)
		m.progress(Event{Kind: EventApplied, Migration: s.migration.ID, Duration: s.took})
		m.logger.Info("migrator: shared tables", slog.String("applied", s.migration.ID))
	})
	if err != nil {
		return applied, fmt.Errorf("migrator: the shared tables: %w", err)
	}
	return applied, nil
}

// pendingShared returns the migrations that the shared tables do not have, without
// any lock. ctx names the shared scope.
func (m *Migrator) pendingShared(ctx context.Context) (Migrations, error) {
	if len(m.shared) == 0 {
		return nil, nil
	}
	db := m.db.WithContext(scope.Shared(ctx))
	var schema *string
	err := db.Raw("select s from pg_catalog.current_schema() s where pg_catalog.to_regclass(pg_catalog.quote_ident(s) || '.migrations') is not null").Scan(&schema).Error
	if err != nil {
		return nil, fmt.Errorf("migrator: the shared tables: %w", err)
	}
	if schema == nil {
		return m.shared, nil
	}
	applied, err := tableIn(*schema).applied(db)
	if err != nil {
		return nil, fmt.Errorf("migrator: the shared tables: %w", err)
	}
	if unknown := m.shared.unknown(applied); len(unknown) > 0 && !m.unknown {
		return nil, &UnknownError{IDs: unknown}
	}
	return m.shared.without(applied), nil
}

// drain waits until no living process is at work on a tenant. The caller keeps
// them from claiming others.
func (l *ledger) drain(ctx context.Context) error {
	for {
		var busy bool
		err := l.do(ctx, func(c *pgx.Conn) error {
			return c.QueryRow(ctx, "select exists (select from tenantry.ledger l join tenantry.workers w on w.id = l.worker and w.until > now() where l.state = 'running')").Scan(&busy)
		})
		if err != nil || !busy {
			return err
		}
		if err := wait(ctx, lookAgain); err != nil {
			return err
		}
	}
}
