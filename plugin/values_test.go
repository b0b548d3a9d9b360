package plugin_test

import (
	"fmt"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"gorm.io/gorm"

	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
	"github.com/tenantry/tenantry/plugin"
)

// formats are settings that change what the server writes, with values that pgx does not read, or
// not whole.
var formats = map[string]string{
	"extra_float_digits": "-3", "datestyle": "German, DMY", "bytea_output": "escape", "intervalstyle": "sql_standard", "standard_conforming_strings": "off",
	"client_encoding": "LATIN1", "timezone": "Asia/Kolkata",
}

// values is a table with a column of each type whose text depends on them.
const values = `create table tenant_a.t (id int, f8 float8, f4 float4, d date, ts timestamp, tz timestamptz, by bytea, v text, iv interval);
	insert into tenant_a.t values (1, 0.1::float8 + 0.2::float8, 0.1, '2026-05-04', '2026-05-04 15:04:05.123456', '2026-05-04 15:04:05.123456+00', '\x005cff', 'Zoë', '1 day 00:00:01')`

// readValues reads the row of values.
func readValues(t *testing.T, db *gorm.DB) map[string]any {
	t.Helper()
	row := map[string]any{}
	if err := db.Raw("select *, 'a\\b' as quoted from t where id = ?", 1).Scan(&row).Error; err != nil {
		t.Fatal(err)
	}
	return row
}

// TestFormatsAreTheDrivers, whatever the role, the database, the connection string and its options
// say: cold and hot statements read what plain GORM reads of a server that says nothing.
func TestFormatsAreTheDrivers(t *testing.T) {
	t.Parallel()
	quote := func(s string) string { return strings.ReplaceAll(s, "'", "''") }
	tests := map[string]func(t *testing.T, dsn string) string{
		"role": func(t *testing.T, dsn string) string {
			role := fmt.Sprintf("formats_%d", time.Now().UnixNano())
			pool := admin(t, dsn)
			mustExec(t, pool, "create role "+role+" login superuser password 'secret'")
			t.Cleanup(func() { mustExec(t, pool, "drop role "+role) })
			for name, value := range formats {
				mustExec(t, pool, fmt.Sprintf("alter role %s set %s = '%s'", role, name, quote(value)))
			}
			return withUser(t, dsn, role, "secret")
		},
		"database": func(t *testing.T, dsn string) string {
			pool := admin(t, dsn)
			for name, value := range formats {
				mustExec(t, pool, fmt.Sprintf("alter database %s set %s = '%s'", pgx.Identifier{pool.Config().ConnConfig.Database}.Sanitize(), name, quote(value)))
			}
			return dsn
		},
		"connection string": func(_ *testing.T, dsn string) string {
			for name, value := range formats {
				if name == "timezone" { // gorm.io/driver/postgres reads it too, and takes timestamps for times there
					continue
				}
				dsn += "&" + strings.ToUpper(name[:1]) + name[1:] + "=" + inURL(value)
			}
			return dsn
		},
		"options": func(_ *testing.T, dsn string) string {
			var options []string
			for name, value := range formats {
				options = append(options, "-c "+name+"="+strings.ReplaceAll(value, " ", ""))
			}
			return dsn + "&options=" + inURL(strings.Join(options, " "))
		},
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dsn := pgtest.Database(t)
			mustExec(t, admin(t, dsn), "create schema tenant_a", values)
			want := readValues(t, openPlain(t, dsn+"&search_path=tenant_a", nil))
			db, _ := open(t, change(t, dsn), nil, plugin.BySchema(), plugin.WithMaxConns(1))
			a := db.WithContext(as(t, "a"))
			for i := range 10 {
				if got := readValues(t, a); !reflect.DeepEqual(got, want) {
					t.Errorf("execution %d: read\n%v\nwant\n%v", i+1, got, want)
				}
				err := a.Transaction(func(tx *gorm.DB) error {
					if got := readValues(t, tx); !reflect.DeepEqual(got, want) {
						t.Errorf("execution %d in a transaction: read\n%v\nwant\n%v", i+1, got, want)
					}
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
			}
			if n := count(kept(t, a), "select *, 'a\\b' as quoted from t where id = $1"); n != 1 {
				t.Errorf("it is kept %d times, want once", n)
			}
		})
	}
}

// inURL returns s as a part of a query, without the + that pgx does not take for a space.
func inURL(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }

// withUser returns dsn for another login.
func withUser(t *testing.T, dsn, user, password string) string {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(user, password)
	return u.String()
}

// TestTheOrderOfDayAndMonthIsTheRoles: it says what a text means, and not how a value is written.
func TestTheOrderOfDayAndMonthIsTheRoles(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	pool := admin(t, dsn)
	mustExec(t, pool, "create schema tenant_a", "create table tenant_a.t (id serial, d date)",
		"alter database "+pgx.Identifier{pool.Config().ConnConfig.Database}.Sanitize()+" set datestyle = 'SQL, DMY'")
	db, _ := open(t, dsn, nil, plugin.BySchema(), plugin.WithMaxConns(1))
	a := db.WithContext(as(t, "a"))
	for range 10 {
		var got time.Time
		if err := a.Raw("insert into t (d) values (?) returning d", "04/05/2026").Scan(&got).Error; err != nil || got.Format(time.DateOnly) != "2026-05-04" {
			t.Fatalf("wrote %s, error %v; want the 4th of May", got, err)
		}
	}
}

// TestSetLocalIsTheUsers, also for formats.
func TestSetLocalIsTheUsers(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	mustExec(t, admin(t, dsn), "create schema tenant_a")
	db, _ := open(t, dsn, nil, plugin.BySchema(), plugin.WithMaxConns(1))
	read := func(tx *gorm.DB) (v string) {
		if err := tx.Raw("select (0.1::float8 + 0.2::float8)::text || ' ' || date '2026-05-04'").Scan(&v).Error; err != nil {
			t.Fatal(err)
		}
		return v
	}
	a := db.WithContext(as(t, "a"))
	for range 5 {
		err := a.Transaction(func(tx *gorm.DB) error {
			if err := tx.Exec("set local extra_float_digits = 0").Error; err != nil {
				return err
			}
			if err := tx.Exec("set local datestyle = German").Error; err != nil {
				return err
			}
			if got := read(tx); got != "0.3 04.05.2026" {
				t.Errorf("read %q behind SET LOCAL", got)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if got := read(a); got != "0.30000000000000004 2026-05-04" {
			t.Errorf("read %q after the transaction", got)
		}
	}
}

// TestAKeptStatementWritesTheTextThatItWasGiven, and not what the type that its column had made of it.
func TestAKeptStatementWritesTheTextThatItWasGiven(t *testing.T) {
	t.Parallel()
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 5, 4, 15, 4, 5, 0, time.UTC)
	tests := []struct {
		name, from, to string
		fits, odd      any    // fits is kept
		want           string // of odd
	}{
		{"integer to text", "int", "text", "7", "007", "007"},
		{"bigint to text", "bigint", "text", int64(7), " 7", " 7"},
		{"boolean to text", "boolean", "text", true, "yes", "yes"},
		{"numeric to text", "numeric", "text", "1.50", "1e3", "1e3"},
		{"float to text", "float8", "text", 0.5, "5e-1", "5e-1"},
		{"real to double", "real", "float8", 0.5, 0.1, "0.1"},
		{"double to numeric", "float8", "numeric", 0.5, 0.30000000000000004, "0.30000000000000004"},
		{"uuid to text", "uuid", "text", "6f1ed002-ab5e-4d5a-8d6f-0c0b0f0e0d0c", "6F1ED002-AB5E-4D5A-8D6F-0C0B0F0E0D0C", "6F1ED002-AB5E-4D5A-8D6F-0C0B0F0E0D0C"},
		{"char to text", "char(5)", "text", "a", "a ", "a "},
		{"jsonb to text", "jsonb", "text", `{"a": 1}`, `{"a":1}`, `{"a":1}`},
		{"date to text", "date", "text", "2026-05-04", "4 May 2026", "4 May 2026"},
		{"timestamptz to timestamp", "timestamptz", "timestamp", at, at.In(berlin), "2026-05-04 17:04:05"},
		{"timestamptz to date", "timestamptz", "date", at, time.Date(2026, 5, 4, 1, 0, 0, 0, berlin), "2026-05-04"},
		{"date to timestamp", "date", "timestamp", "2026-05-04", at, "2026-05-04 15:04:05"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dsn := pgtest.Database(t)
			pool := admin(t, dsn)
			mustExec(t, pool, "create schema tenant_a", "create table tenant_a.t (v "+tt.from+")",
				"alter database "+pgx.Identifier{pool.Config().ConnConfig.Database}.Sanitize()+" set timezone = 'UTC'")
			db, _ := open(t, dsn, nil, plugin.BySchema(), plugin.WithMaxConns(1))
			a := db.WithContext(as(t, "a"))
			for range 10 {
				if err := a.Exec("insert into t values (?)", tt.fits).Error; err != nil {
					t.Fatal(err)
				}
			}
			if n := count(kept(t, a), "insert into t values ($1)"); n != 1 {
				t.Fatalf("it is kept %d times, want once", n)
			}
			mustExec(t, pool, "delete from tenant_a.t", "alter table tenant_a.t alter v type "+tt.to+" using null")
			var got string
			err := a.Exec("insert into t values (?)", tt.odd).Error
			if err == nil {
				err = a.Raw("select v::text from t").Scan(&got).Error
			}
			if err != nil || got != tt.want {
				t.Errorf("wrote %q, error %v; want %q", got, err, tt.want)
			}
		})
	}
}

// TestAStatementWhoseArgumentsDoNotFitKeepsItsPlace: it is not kept anew at each turn.
func TestAStatementWhoseArgumentsDoNotFitKeepsItsPlace(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	mustExec(t, admin(t, dsn), "create schema tenant_a", "create table tenant_a.t (v int)")
	db, _ := open(t, dsn, nil, plugin.BySchema(), plugin.WithMaxConns(1))
	a := db.WithContext(as(t, "a"))
	for i := range 20 {
		if err := a.Exec("insert into t values (?)", []string{"7", "007"}[i%2]).Error; err != nil {
			t.Fatal(err)
		}
	}
	var plans int64
	err := a.Raw("select generic_plans + custom_plans from pg_prepared_statements where statement = 'insert into t values ($1)'").Scan(&plans).Error
	if err != nil || plans < 8 || plans > 10 {
		t.Errorf("it ran %d times by its name, error %v; want 8 to 10 of 20", plans, err)
	}
}
