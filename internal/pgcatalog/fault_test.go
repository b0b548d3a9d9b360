package pgcatalog_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"gorm.io/gorm"

	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
	"github.com/tenantry/tenantry/plugin"
)

// perSchema makes what statements say in schemas tenant_<prefix>1 to n.
func perSchema(t testing.TB, pool *pgxpool.Pool, prefix string, n int, statements ...string) {
	t.Helper()
	mustExec(t, pool, fmt.Sprintf(`do $do$ begin for i in 1..%d loop
		execute 'create schema tenant_%s' || i;
		perform set_config('search_path', 'tenant_%[2]s' || i, true);
		execute $ddl$%s$ddl$;
	end loop; end $do$`, n, prefix, strings.Join(statements, ";")))
}

// TestSequencesOfOthersAreLeftAlone: the driver looks for the table's name in all
// schemas, and takes what it finds first.
func TestSequencesOfOthersAreLeftAlone(t *testing.T) {
	t.Parallel()
	const of = "select data_type::text from pg_sequences where schemaname = $1 and sequencename = 't_v_seq'"
	tests := []struct {
		name   string
		become any
		own    string // what b has of a sequence afterwards
	}{
		{"it grows", &bigSerial{}, "bigint"},
		{"it becomes an integer", &plainInt{}, ""},
		{"it becomes text", &text{}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dsn := pgtest.Database(t)
			pool, db := connect(t, dsn, ""), openOurs(t, dsn, &gorm.Config{})
			for _, id := range []string{"a", "b", "c"} {
				mustExec(t, pool, "create schema tenant_"+id, "create table tenant_"+id+".t (id bigserial primary key, v serial)")
			}
			if err := db.WithContext(as(t, "b")).Table("t").Migrator().AlterColumn(tt.become, "V"); err != nil {
				t.Fatal(err)
			}
			for _, schema := range []string{"tenant_a", "tenant_c"} {
				if got := ask[string](t, pool, "select coalesce(("+of+"), '')", schema); got != "integer" {
					t.Errorf("the sequence of %s is %q, want it unchanged", schema, got)
				}
			}
			if got := ask[string](t, pool, "select coalesce(("+of+"), '')", "tenant_b"); got != tt.own {
				t.Errorf("the sequence of b is %q, want %q", got, tt.own)
			}
		})
	}
}

// TestASequenceInAnotherSchemaIsNotTheTables: CREATE TABLE LIKE takes it over.
func TestASequenceInAnotherSchemaIsNotTheTables(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	pool, db := connect(t, dsn, ""), openOurs(t, dsn, &gorm.Config{})
	for _, become := range []any{&bigSerial{}, &text{}} {
		mustExec(t, pool, "drop schema if exists tenant_a, tenant_b cascade", "create schema tenant_a", "create schema tenant_b",
			"create sequence tenant_a.numbers_seq as integer", "create sequence tenant_b.numbers_seq as integer",
			"create table tenant_a.t (id bigserial primary key, v int not null default nextval('tenant_a.numbers_seq'))",
			"create table tenant_b.t (like tenant_a.t including defaults)", "alter table tenant_a.t alter v drop default")
		if err := db.WithContext(as(t, "b")).Table("t").Migrator().AlterColumn(become, "V"); err != nil {
			t.Fatal(err)
		}
		if n := ask[int](t, pool, "select count(*)::int from pg_sequences where sequencename = 'numbers_seq' and data_type = 'integer'::regtype"); n != 2 {
			t.Errorf("%d sequences are as they were, want that of a and the one of b that has its name", n)
		}
		if got := ask[string](t, pool, "select atttypid::regtype::text from pg_attribute where attrelid = 'tenant_b.t'::regclass and attname = 'v'"); got == "integer" {
			t.Error("the column of b has not changed")
		}
	}
}

// TestATypeInManySchemasGivesEachColumnOnce: the driver gives it once for each
// schema, with the length of any of them.
func TestATypeInManySchemasGivesEachColumnOnce(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	db := openOurs(t, dsn, &gorm.Config{})
	perSchema(t, connect(t, dsn, ""), "t", 50, "create type mood as enum ('ok')", "create domain word as varchar(9)",
		"create table t (id bigint primary key, v mood, w word)")
	columns, err := db.WithContext(as(t, "t7")).Migrator().ColumnTypes("t")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range columns {
		full, _ := c.ColumnType()
		length, _ := c.Length()
		got = append(got, fmt.Sprint(c.Name(), " ", c.DatabaseTypeName(), " ", full, " ", length))
	}
	if want := []string{"id int8 bigint 64", "v mood mood 32", "w varchar word 9"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// secret is a table that other tenants have, and ours has not.
type secret struct {
	ID int64
	V  string `gorm:"unique;index;check:secret_v,v <> 'x'"`
}

// TestOthersAreNeverSeen asks for what hundreds of other tenants have, where ours
// has nothing, and then where it has a poorer table of the name.
func TestOthersAreNeverSeen(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	pool, db := connect(t, dsn, ""), openOurs(t, dsn, &gorm.Config{})
	perSchema(t, pool, "t", 300,
		`create table secrets (id bigserial primary key, v text constraint uni_secrets_v unique constraint secret_v check (v <> 'x'))`,
		"create index idx_secrets_v on secrets (v)", "comment on column secrets.v is 'theirs'", "create view secret_view as select * from secrets")
	mustExec(t, pool, "create schema tenant_me", "create table public.secrets (like tenant_t1.secrets including all)")
	m := db.WithContext(as(t, "me")).Migrator()
	nothing := func() {
		t.Helper()
		for _, value := range []any{&secret{}, "secrets"} {
			for _, name := range []string{"V", "v", "uni_secrets_v", "secret_v", "idx_secrets_v"} {
				if m.HasColumn(value, name) || m.HasIndex(value, name) || m.HasConstraint(value, name) {
					t.Errorf("there is a column, index or constraint %q", name)
				}
			}
			indexes, err := m.GetIndexes(value)
			if err != nil || len(indexes) != 0 {
				t.Errorf("there are %d indexes, error %v", len(indexes), err)
			}
		}
	}
	nothing()
	if m.HasTable(&secret{}) || m.HasTable("secrets") {
		t.Error("there is a table")
	}
	if tables, err := m.GetTables(); err != nil || len(tables) != 0 {
		t.Errorf("there are tables %q, error %v", tables, err)
	}
	if columns, err := m.ColumnTypes("secrets"); err == nil {
		t.Errorf("there are %d columns, and no error", len(columns))
	}
	if got, err := m.TableType("secret_view"); err == nil {
		t.Errorf("there is a view %v", got)
	}

	mustExec(t, pool, "create table tenant_me.secrets (id int)")
	nothing()
	columns, err := m.ColumnTypes(&secret{})
	if err != nil || len(columns) != 1 || columns[0].DatabaseTypeName() != "int4" {
		t.Fatalf("got %d columns, error %v, want the one of our own", len(columns), err)
	}
	if _, ok := columns[0].AutoIncrement(); ok {
		t.Error("the column counts like theirs")
	}
	if primary, _ := columns[0].PrimaryKey(); primary {
		t.Error("the column is a key like theirs")
	}
	if got, err := m.TableType("secrets"); err != nil || got.Schema() != "tenant_me" {
		t.Errorf("got table %v, error %v", got, err)
	}
	if theirs, err := m.ColumnTypes("tenant_t5.secrets"); err != nil || len(theirs) != 2 {
		t.Errorf("by its full name a table has %d columns, error %v, want 2", len(theirs), err)
	}
}

// TestDropTableLeavesSharedTablesAlone: the tenant has no table of the name, but a
// shared schema behind its own has.
func TestDropTableLeavesSharedTablesAlone(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	pool := connect(t, dsn, "")
	mustExec(t, pool, "create schema tenant_a", "create schema commons", "create table commons.plans (id int)", "create table tenant_a.notes (id int)")
	db := openOurs(t, dsn, &gorm.Config{}, plugin.WithSharedSchemas("commons")).WithContext(as(t, "a"))
	if err := db.Migrator().DropTable("plans", "notes"); err != nil {
		t.Fatal(err)
	}
	const tables = "select coalesce(string_agg(schemaname || '.' || tablename, ' '), '') from pg_tables where schemaname in ('tenant_a', 'commons')"
	if got := ask[string](t, pool, tables); got != "commons.plans" {
		t.Errorf("what is left is %q, want commons.plans", got)
	}
}

// TestSharedTablesAreNotChanged: a tenant that lacks a table reaches that of a shared
// schema by its name.
func TestSharedTablesAreNotChanged(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	pool := connect(t, dsn, "")
	mustExec(t, pool, "create schema tenant_a", "create schema ext", "create table ext.things (id int, name text, constraint positive check (id > 0))",
		"create index i on ext.things (name)", "create view ext.v as select 1")
	type Thing struct {
		ID   int
		Name string
	}
	m := openOurs(t, dsn, &gorm.Config{}, plugin.WithSharedSchemas("ext")).WithContext(as(t, "a")).Migrator()
	for name, err := range map[string]error{
		"DropIndex": m.DropIndex(&Thing{}, "i"), "RenameIndex": m.RenameIndex(&Thing{}, "i", "j"),
		"DropColumn": m.DropColumn(&Thing{}, "name"), "RenameColumn": m.RenameColumn(&Thing{}, "name", "other"),
		"DropConstraint": m.DropConstraint(&Thing{}, "positive"), "RenameTable": m.RenameTable("things", "hacked"),
	} {
		if err == nil {
			t.Errorf("%s succeeded", name)
		}
	}
	if err := m.DropView("v"); err != nil {
		t.Errorf("DropView of a view that is not there: %v", err)
	}
	const all = "select string_agg(relname, ' ' order by relname) || (select count(*) from pg_attribute where attrelid = 'ext.things'::regclass and attname = 'name') || (select count(*) from pg_constraint where conname = 'positive') from pg_class where relnamespace = 'ext'::regnamespace"
	if got := ask[string](t, pool, all); got != "i things v11" {
		t.Errorf("the shared schema has %q", got)
	}
}
