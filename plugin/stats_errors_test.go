package plugin_test

import (
	"context"
	"errors"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
	"github.com/tenantry/tenantry/plugin"
	"github.com/tenantry/tenantry/scope"
)

// nowhere has no place for any tenant.
type nowhere struct{ plugin.Strategy }

func (nowhere) Place(context.Context, *pgxpool.Pool, scope.Tenant) (plugin.Placement, error) {
	return plugin.Placement{}, errors.New("there is no room")
}

func TestStatementsThatGetNoConnectionAreErrors(t *testing.T) {
	t.Parallel()
	db, err := gorm.Open(postgres.Open(pgtest.Database(t)), &gorm.Config{Logger: logger.Discard})
	if err != nil {
		t.Fatal(err)
	}
	p := plugin.New(nowhere{plugin.BySchema()})
	if err := db.Use(p); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	ctx := as(t, "a")
	mustSay(t, db.WithContext(ctx).Exec("select 1").Error, "there is no room")
	mustSay(t, db.WithContext(ctx).Transaction(func(*gorm.DB) error { return nil }), "there is no room")
	if s := p.Stats(); s.Errors != 2 || s.Refused != 0 || s.Statements != 0 {
		t.Errorf("got %+v", s)
	}
}
