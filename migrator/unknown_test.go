package migrator_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
	"github.com/tenantry/tenantry/migrator"
	"github.com/tenantry/tenantry/plugin"
)

// TestAnOlderProgramIsRefused before it changes anything, and spoils nothing for the
// newer one.
func TestAnOlderProgramIsRefused(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	db, pool, list := open(t, dsn, plugin.BySchema()), admin(t, dsn), tenants(t, "ahead", "behind", "ahead-too")
	newer := append(slices.Clone(two), text("0003", "create table notes ()"), text("0004", "create table more ()"))
	fleet := slices.Delete(slices.Clone(list), 1, 2)
	if _, err := migrator.New(db, fleet, newer).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := dump(t, pool)
	old := migrator.New(db, list, two)
	var unknown *migrator.UnknownError
	check := func(what string, err error) {
		t.Helper()
		if !errors.As(err, &unknown) || !slices.Equal(unknown.IDs, []string{"0003", "0004"}) || !slices.Equal(unknown.Tenants, fleet) {
			t.Errorf("%s: got error %v", what, err)
		}
		for _, w := range []string{"0003, 0004", "ahead", "WithUnknownMigrations"} {
			if err == nil || !strings.Contains(err.Error(), w) {
				t.Errorf("%s: error %v does not name %s", what, err, w)
			}
		}
	}
	_, err := old.Run(t.Context())
	check("Run", err)
	_, err = old.Rollback(t.Context(), "0001")
	check("Rollback", err)
	_, err = old.Plan(t.Context())
	check("Plan", err)
	if _, err := old.Verify(t.Context(), migrator.Selection{}); err != nil {
		t.Errorf("Verify: %v", err)
	}
	if after := dump(t, pool); after != before {
		t.Errorf("changed\n%s\nto\n%s", before, after)
	}

	// Allowed, it does its own part and leaves the rest.
	tolerant := migrator.New(db, list, two, migrator.WithUnknownMigrations())
	report, err := tolerant.Run(t.Context())
	if err != nil || len(report.Results[0].Applied)+len(report.Results[2].Applied) != 0 || !slices.Equal(report.Results[1].Applied, []string{"0001", "0002"}) {
		t.Errorf("got %+v, %v", report, err)
	}
	if report, err := migrator.New(db, fleet, newer).Run(t.Context()); err != nil || report.Run != 0 {
		t.Errorf("the newer one has to do run %d, %v", report.Run, err)
	}
	status, err := migrator.New(db, list, newer).Status(t.Context(), migrator.Selection{IDs: fleet})
	if err != nil || status[0].State != migrator.Current || status[0].Last != "0004" || status[1].State != migrator.Current || status[1].Last != "0004" {
		t.Errorf("got %+v, %v", status, err)
	}
}

// TestAnOlderProgramIsRefusedByTheTenantsTableToo: the ledger is behind, since others
// have migrated past it.
func TestAnOlderProgramIsRefusedByTheTenantsTableToo(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	db, pool, list := open(t, dsn, plugin.BySchema()), admin(t, dsn), tenants(t, "acme")
	if _, err := migrator.New(db, list, two[:1]).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	mustExec(t, pool, "insert into tenant_acme.migrations values ('0009')")
	before := dump(t, pool)
	m := migrator.New(db, list, two)
	var unknown *migrator.UnknownError
	if _, err := m.Run(t.Context()); !errors.As(err, &unknown) || !slices.Equal(unknown.IDs, []string{"0009"}) {
		t.Errorf("got error %v", err)
	}
	if after := dump(t, pool); after != before {
		t.Errorf("changed\n%s\nto\n%s", before, after)
	}
	// From then on the ledger knows.
	if _, err := m.Plan(t.Context()); !errors.As(err, &unknown) {
		t.Logf("the ledger has not learned it: %v", err)
	}
}
