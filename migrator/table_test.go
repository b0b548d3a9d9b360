package migrator_test

import (
	"fmt"
	"testing"

	"github.com/go-gormigrate/gormigrate/v2"

	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
	"github.com/tenantry/tenantry/migrator"
	"github.com/tenantry/tenantry/plugin"
)

// TestIDsAreReadAsTheyWereWritten: what the tracking table says comes as COPY writes it,
// which has escapes for some characters.
func TestIDsAreReadAsTheyWereWritten(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	db, list := open(t, dsn, plugin.BySchema()), tenants(t, "acme")
	ids := []string{`back\slash`, `\N`, `\\n`, "tab\there", "line\nbreak", "carriage\rreturn", "\b\f\v", "quo'te", `\.`, "ünï", " "}
	var migrations []*gormigrate.Migration
	for i, id := range ids {
		// Called a second time, each would fail.
		migrations = append(migrations, text(id, fmt.Sprintf("create table t%d ()", i)))
		report, err := migrator.New(db, list, migrations, silent).Run(t.Context())
		if err != nil {
			t.Fatalf("%q: %v", id, err)
		}
		checkApplied(t, report, list, id)
	}
}
