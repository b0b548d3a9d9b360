package driver

import (
	"context"

	"github.com/jackc/pgx/v5/pgxpool"
)

// baseKey is the context key of WithBase.
type baseKey struct{}

// WithBase returns a context under which pool stands in for the base pool: what
// a strategy places there goes to pool instead. It must have been prepared by
// [PreparePool].
func WithBase(ctx context.Context, pool *pgxpool.Pool) context.Context {
	return context.WithValue(ctx, baseKey{}, pool)
}

// Base returns the pool that stands in for the base pool under ctx, or nil.
func Base(ctx context.Context) *pgxpool.Pool {
	pool, _ := ctx.Value(baseKey{}).(*pgxpool.Pool)
	return pool
}

// settingsKey is the context key of WithSettings.
type settingsKey struct{}

// WithSettings returns a context whose statements and transactions run under more
// settings, behind the target's own.
func WithSettings(ctx context.Context, settings ...Setting) context.Context {
	return context.WithValue(ctx, settingsKey{}, settings)
}

func settingsOf(ctx context.Context) []Setting {
	settings, _ := ctx.Value(settingsKey{}).([]Setting)
	return settings
}
