package plugin_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
	"github.com/tenantry/tenantry/plugin"
)

// TestPlaceWithSeesEachConnection of the one place, ahead of the hook that the pools have
// for all.
func TestPlaceWithSeesEachConnection(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex // guards calls
	var calls []string
	call := func(name string) func(context.Context, *pgx.ConnConfig) error {
		return func(context.Context, *pgx.ConnConfig) error {
			mu.Lock()
			defer mu.Unlock()
			calls = append(calls, name)
			return nil
		}
	}
	pools := newPools(t, plugin.WithConnsPerDatabase(2), plugin.WithDatabaseConfig(func(cfg *pgxpool.Config) error {
		cfg.BeforeConnect = call("all")
		return nil
	}))
	two := roles(t, pgtest.DSN(t), 2)
	for _, c := range []struct {
		d    plugin.Database
		hook func(context.Context, *pgx.ConnConfig) error
		want []string
	}{
		{two[0], func(ctx context.Context, cc *pgx.ConnConfig) error {
			if cc.User != two[0].User {
				t.Errorf("it sees a connection of %s", cc.User)
			}
			cc.Password = two[0].Password
			return call("one")(ctx, cc)
		}, []string{"one", "all", "one", "all"}},
		{two[1], nil, []string{"all", "all"}},
	} {
		calls = nil
		d := c.d
		if c.hook != nil {
			d.Password = "expired"
		}
		var held []*held
		for range 2 {
			p, err := pools.PlaceWith(t.Context(), d, c.hook)
			if err != nil {
				t.Fatal(err)
			}
			h, err := take(t.Context(), p)
			if err != nil {
				t.Fatal(err)
			}
			held = append(held, h)
		}
		for _, h := range held {
			h.giveBack()
		}
		if !slices.Equal(calls, c.want) {
			t.Errorf("%s: called %q, want %q", d.User, calls, c.want)
		}
	}
}

func TestAnErrorOfPlaceWithsFunctionIsTheStatements(t *testing.T) {
	t.Parallel()
	down := errors.New("the vault is down")
	pools := newPools(t)
	_, err := pools.PlaceWith(t.Context(), roles(t, pgtest.DSN(t), 1)[0], func(context.Context, *pgx.ConnConfig) error { return down })
	if !errors.Is(err, down) {
		t.Errorf("got error %v, want %v", err, down)
	}
}
