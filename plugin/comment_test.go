package plugin_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
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
					for _, text := range []string{seen, seen + " and 1 = ?", seen + " -- mine", seen + ";", seen + " /* mine */", seen + " /*traceparent='00-1'*/"} {
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

// TestOthersSeeWhoseTheLastStatementWas looks from another connection, where a
// transaction lies idle.
func TestOthersSeeWhoseTheLastStatementWas(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	outside := admin(t, dsn)
	mustExec(t, outside, "create schema tenant_a", "create table tenant_a.notes (id int, data bytea)")
	db, _ := open(t, dsn, &gorm.Config{}, plugin.BySchema(), plugin.WithSQLComment())
	for text, arg := range map[string]any{
		"select count(*) from notes where id = ?": 1,
		"update notes set data = ?":               []byte{1},
	} {
		err := db.WithContext(as(t, "a")).Transaction(func(tx *gorm.DB) error {
			if err := tx.Exec(text, arg).Error; err != nil {
				return err
			}
			var got string
			err := outside.QueryRow(t.Context(), "select query from pg_stat_activity where state = 'idle in transaction' and datname = current_database()").Scan(&got)
			if want := strings.ReplaceAll(text, "?", "$1") + " /*tenant='a'*/"; got != want {
				t.Errorf("got %q, want %q", got, want)
			}
			return err
		})
		if err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// TestWhatIsSentPastGORMHasNoComment: what WithConn lends is pgx's own.
func TestWhatIsSentPastGORMHasNoComment(t *testing.T) {
	t.Parallel()
	db, tr := traced(t, &gorm.Config{}, plugin.WithSQLComment())
	err := db.WithContext(as(t, "a")).Transaction(func(tx *gorm.DB) error {
		return plugin.WithConn(tx, func(c *pgx.Conn) error { _, err := c.Exec(tx.Statement.Context, "select 1"); return err })
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := tr.take(); !slices.Equal(got, []string{"a: begin [] = BEGIN", "a: select 1 [] = SELECT 1", "a: commit [] = COMMIT"}) {
		t.Errorf("saw %q", got)
	}
}

// TestACommentCostsNoRoundTrip, though it makes a text of each tenant's: also where
// the types of the arguments have to be known, and where GORM prepares.
func TestACommentCostsNoRoundTrip(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	mustExec(t, admin(t, dsn), "create schema tenant_a", "create schema tenant_b",
		"create table tenant_a.notes (id int, data bytea)", "create table tenant_b.notes (id int, data bytea)")
	for name, prepare := range map[string]bool{"plain": false, "prepared": true} {
		without := tripsOf(t, dsn, prepare)
		with := tripsOf(t, dsn, prepare, plugin.WithSQLComment())
		if !slices.Equal(with, without) || slices.Contains(with, 0) {
			t.Errorf("%s: %v round trips with a comment, %v without", name, with, without)
		}
	}
}

// tripsOf counts the round trips of each statement, of two tenants in turn.
func tripsOf(t *testing.T, dsn string, prepare bool, opts ...plugin.Option) (trips []int64) {
	t.Helper()
	proxy := pgproxy.Start(t, dsn)
	db, _ := open(t, proxy.DSN(dsn), &gorm.Config{PrepareStmt: prepare, SkipDefaultTransaction: true}, plugin.BySchema(), append(opts, plugin.WithMaxConns(1))...)
	if err := db.WithContext(as(t, "a")).Exec("select 1").Error; err != nil { // connecting has round trips of its own
		t.Fatal(err)
	}
	for i := range 6 {
		db := db.WithContext(as(t, []string{"a", "b"}[i%2]))
		for _, run := range []func(*gorm.DB) error{
			exec("insert into notes (id) values (?)", i), exec("update notes set data = ?", []byte{byte(i)}), exec("delete from notes; select 1"),
		} {
			before := proxy.RoundTrips()
			if err := run(db); err != nil {
				t.Fatal(err)
			}
			trips = append(trips, proxy.RoundTrips()-before)
		}
	}
	return trips
}
