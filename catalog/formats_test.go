package catalog_test

import (
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/tenantry/tenantry/catalog"
	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
)

// TestTheMasterDatabaseMayHaveFormatsOfItsOwn: the catalog reads its times and its secrets.
func TestTheMasterDatabaseMayHaveFormatsOfItsOwn(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	pool := admin(t, dsn)
	name := pgx.Identifier{pool.Config().ConnConfig.Database}.Sanitize()
	mustExec(t, pool, "alter database "+name+" set datestyle = 'German, DMY'")
	mustExec(t, pool, "alter database "+name+" set bytea_output = 'escape'")
	c := open(t, dsn)
	made := create(t, c, catalog.New{ID: "acme", Kind: catalog.OwnDatabase})
	got, err := c.Get(t.Context(), parse(t, "acme"))
	if err != nil || made.CreatedAt.IsZero() || !got.CreatedAt.Equal(made.CreatedAt) {
		t.Errorf("made at %v, read %v, error %v", made.CreatedAt, got.CreatedAt, err)
	}
	var n int
	if err := use(t, dsn, c, nil).WithContext(as(t, "acme")).Raw("select 1").Scan(&n).Error; err != nil || n != 1 {
		t.Errorf("in the tenant's database: %d, error %v", n, err)
	}
}
