package plugin_test

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"gorm.io/gorm"

	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
	"github.com/tenantry/tenantry/plugin"
)

// Document exists in two versions, as in the middle of a rollout: other columns,
// another order, other types, an enum of the same name with other values.
type Document struct {
	ID     int64
	Body   []byte
	Status Status `gorm:"type:status"`
	Extra  string `gorm:"->"` // only the new version has it
}

// Status is an enum. It has a method, so pgx is asked how to encode it.
type Status string

func (s Status) String() string { return "status " + string(s) }

func documents(t *testing.T, cfg *gorm.Config) *gorm.DB {
	t.Helper()
	dsn := pgtest.Database(t)
	mustExec(t, admin(t, dsn),
		"create schema tenant_a", "create schema tenant_b",
		"create type tenant_a.status as enum ('draft', 'sent')",
		"create type tenant_b.status as enum ('sent', 'lost', 'draft')",
		"create table tenant_a.documents (id bigserial primary key, body bytea, status tenant_a.status)",
		"create table tenant_b.documents (status tenant_b.status, extra text default 'new', body jsonb, id bigserial primary key)")
	db, _ := open(t, dsn, cfg, plugin.BySchema(), plugin.WithMaxConns(1))
	return db
}

// TestTenantsInTheMiddleOfARollout shares one connection between tenants whose
// tables and types differ: nothing of one may be used for the other, and no
// statement may fail with 0A000, "cached plan must not change result type".
func TestTenantsInTheMiddleOfARollout(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]*gorm.Config{"default": {}, "PrepareStmt": {PrepareStmt: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := documents(t, cfg)
			body := map[string][]byte{"a": {0, 1, 0xfe, '"'}, "b": []byte(`{"k": 1}`)}
			for round := range 3 {
				for _, id := range []string{"a", "b"} {
					check := func(db *gorm.DB) error {
						if err := db.Create(&Document{Body: body[id], Status: "draft"}).Error; err != nil {
							return fmt.Errorf("create: %w", err)
						}
						var rows []Document
						if err := db.Where("status = ?", Status("draft")).Order("id").Find(&rows).Error; err != nil {
							return fmt.Errorf("find: %w", err)
						}
						last := rows[len(rows)-1]
						if !bytes.Equal(last.Body, body[id]) || last.Status != "draft" {
							return fmt.Errorf("read %q, %q", last.Body, last.Status)
						}
						return db.Exec("update documents set body = ? where id = ?", body[id], last.ID).Error
					}
					if err := check(db.WithContext(as(t, id))); err != nil {
						t.Errorf("round %d, %s: %v", round, id, err)
					}
					if err := db.WithContext(as(t, id)).Transaction(check); err != nil {
						t.Errorf("round %d, transaction of %s: %v", round, id, err)
					}
				}
			}
		})
	}
}

// TestAColumnThatChangesUnderPreparedStatements migrates a tenant between two
// executions of the same statements.
func TestAColumnThatChangesUnderPreparedStatements(t *testing.T) {
	t.Parallel()
	db := documents(t, &gorm.Config{PrepareStmt: true})
	a := db.WithContext(as(t, "a"))
	find := func(want string) {
		t.Helper()
		var rows []map[string]any
		if err := a.Raw("select * from documents where id > ?", 0).Scan(&rows).Error; err != nil || len(rows) == 0 || fmt.Sprint(rows[0]["more"]) != want {
			t.Errorf("read %v, error %v, want more to be %s", rows, err, want)
		}
	}
	const insertBody = "insert into documents (status, body) values (null, ?)"
	if err := a.Exec(insertBody, []byte{0xff, 0}).Error; err != nil {
		t.Fatal(err)
	}
	find("<nil>")
	if err := a.Exec("alter table documents add column more text default 'more'").Error; err != nil {
		t.Fatal(err)
	}
	find("more")
	if err := a.Exec("alter table documents alter column more drop default, alter column more type bigint using 7").Error; err != nil {
		t.Fatal(err)
	}
	find("7")

	// The remembered type of the parameter is bytea. When the column becomes
	// jsonb, the statement must fail, and the next one must ask again.
	if err := a.Exec("alter table documents alter column body type jsonb using '1'").Error; err != nil {
		t.Fatal(err)
	}
	mustSay(t, a.Exec(insertBody, []byte("2")).Error, "42804")
	if err := a.Exec(insertBody, []byte("3")).Error; err != nil {
		t.Errorf("after the first failure the type is asked for again: %v", err)
	}
	var bodies []string
	if err := a.Raw("select body from documents order by id").Scan(&bodies).Error; err != nil || fmt.Sprint(bodies) != "[1 3]" {
		t.Errorf("bodies are %q, error %v", bodies, err)
	}
}

// TestTimesKeepTheirWallClock: sent as text without a known type, a time must
// come out as pgx would have encoded it for the column.
func TestTimesKeepTheirWallClock(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	mustExec(t, admin(t, dsn), "create schema tenant_a", "create table tenant_a.times (n int, tz timestamptz, ts timestamp, d date, plain timestamptz)",
		"create table public.times (n int, tz timestamptz, ts timestamp, d date, plain timestamptz)")
	db, _ := open(t, dsn, nil, plugin.BySchema())
	plain := openPlain(t, dsn, nil)
	t.Cleanup(func() {
		pool, err := plain.DB()
		if err != nil || pool.Close() != nil {
			t.Error("can't close the plain pool")
		}
	})
	east := time.FixedZone("east", 9*3600+30*60)
	times := []time.Time{
		time.Date(2024, 1, 1, 0, 30, 0, 123456789, east),
		time.Date(2024, 12, 31, 23, 59, 59, 999999999, time.FixedZone("west", -11*3600)),
		time.Date(1850, 6, 1, 12, 0, 0, 0, time.FixedZone("odd", 53*60+28)),
		time.Date(12024, 2, 29, 1, 2, 3, 0, time.UTC),
		time.Date(-43, 3, 15, 12, 0, 0, 0, time.UTC),
		{},
	}
	const insert = "insert into times (n, tz, ts, d) values (?, ?, ?, ?)"
	for i, at := range times {
		if err := db.WithContext(as(t, "a")).Exec(insert, i, at, at, at).Error; err != nil {
			t.Fatalf("%v: %v", at, err)
		}
		if err := plain.Exec("set search_path = public").Exec(insert, i, at, at, at).Error; err != nil {
			t.Fatalf("%v, plain: %v", at, err)
		}
	}
	var rows, want []string
	const query = "select format('%s %s %s %s', n, tz at time zone 'UTC', ts, d) from times order by n"
	if err := db.WithContext(as(t, "a")).Raw(query).Scan(&rows).Error; err != nil {
		t.Fatal(err)
	}
	if err := plain.Raw(query).Scan(&want).Error; err != nil {
		t.Fatal(err)
	}
	if len(rows) != len(times) || fmt.Sprint(rows) != fmt.Sprint(want) {
		t.Errorf("got\n%q, plain GORM has\n%q", rows, want)
	}
}
