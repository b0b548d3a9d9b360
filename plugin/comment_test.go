package plugin_test

import (
	"fmt"
	"strings"
	"testing"

	"gorm.io/gorm"

	"github.com/tenantry/tenantry/internal/pgproxy"
	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
	"github.com/tenantry/tenantry/plugin"
	"github.com/tenantry/tenantry/scope"
)

// seen is what pg_stat_activity shows of the statement itself.
const seen = "select query from pg_stat_activity where pid = pg_backend_pid()"

func commenting(t *testing.T, cfg *gorm.Config) *gorm.DB {
	t.Helper()
	dsn := pgtest.Database(t)
	mustExec(t, admin(t, dsn), "create schema tenant_a", "create schema tenant_b", "create table tenant_a.notes (id int)")
	db, _ := open(t, dsn, cfg, plugin.BySchema(), plugin.WithSQLComment())
	return db
}

func TestStatementsCarryTheirTenant(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]*gorm.Config{"plain": {}, "prepared": {PrepareStmt: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := commenting(t, cfg)
			for range 2 {
				for _, id := range []string{"a", "b"} {
					for _, text := range []string{seen, seen + " and 1 = ?", seen + " -- mine", seen + ";", seen + " /* mine */"} {
						var args []any
						if strings.Contains(text, "?") {
							args = []any{1}
						}
						var got, inTx string
						err := db.WithContext(as(t, id)).Raw(text, args...).Scan(&got).Error
						txErr := db.WithContext(as(t, id)).Transaction(func(tx *gorm.DB) error { return tx.Raw(text, args...).Scan(&inTx).Error })
						for _, query := range []string{got, inTx} {
							if err != nil || txErr != nil || !strings.HasSuffix(query, "/*tenant='"+id+"'*/") || strings.Count(query, "tenant=") != 1 {
								t.Errorf("%q: got %q, %v, %v", text, query, err, txErr)
							}
						}
					}
				}
			}
		})
	}
}

func TestScriptsAndOddTextsCarryATenantToo(t *testing.T) {
	t.Parallel()
	db := commenting(t, &gorm.Config{}).WithContext(as(t, "a"))
	for _, text := range []string{
		"insert into notes values (1); insert into notes values (2)",
		"insert into notes values (3) -- the last",
		"do $$ begin insert into notes values (4); end $$",
		"create index concurrently on notes (id)",
		"", ";", "-- nothing",
	} {
		if err := db.Exec(text).Error; err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
	var n int
	if err := db.Raw("select count(*) from notes").Scan(&n).Error; err != nil || n != 4 {
		t.Errorf("got %d, %v", n, err)
	}
	mustSay(t, db.Exec("insert into notes values ('x')").Error, "22P02")
}

func TestNobodyElsesStatementsHaveAComment(t *testing.T) {
	t.Parallel()
	db := commenting(t, &gorm.Config{})
	var got string
	if err := db.WithContext(scope.Shared(t.Context())).Raw(seen).Scan(&got).Error; err != nil || got != seen {
		t.Errorf("shared: got %q, %v", got, err)
	}
	dsn := pgtest.Database(t)
	mustExec(t, admin(t, dsn), "create schema tenant_a")
	without, _ := open(t, dsn, &gorm.Config{}, plugin.BySchema())
	if err := without.WithContext(as(t, "a")).Raw(seen).Scan(&got).Error; err != nil || got != seen {
		t.Errorf("without the option: got %q, %v", got, err)
	}
}

// TestACommentCostsNoRoundTrip, though it makes a text of each tenant's.
func TestACommentCostsNoRoundTrip(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	mustExec(t, admin(t, dsn), "create schema tenant_a", "create table tenant_a.notes (id int)")
	spent := map[string]int64{}
	for name, opts := range map[string][]plugin.Option{"with": {plugin.WithSQLComment()}, "without": nil} {
		proxy := pgproxy.Start(t, dsn)
		db, _ := open(t, proxy.DSN(dsn), &gorm.Config{}, plugin.BySchema(), opts...)
		for i := range 6 {
			if i == 1 { // the connection is open
				spent[name] = -proxy.RoundTrips()
			}
			if err := db.WithContext(as(t, "a")).Exec("insert into notes values (?)", i).Error; err != nil {
				t.Fatal(err)
			}
		}
		spent[name] += proxy.RoundTrips()
	}
	if spent["with"] != spent["without"] || spent["with"] == 0 {
		t.Error(fmt.Sprint("round trips: ", spent))
	}
}
