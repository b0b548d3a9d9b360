package pgcatalog_test

import (
	"database/sql"
	"errors"
	"slices"
	"strings"
	"testing"

	"gorm.io/gorm"
)

// oddly has names that need quotes.
type oddly struct {
	ID int64
	V  int32 `gorm:"column:It's V"`
}

// oddlySerial is oddly with a sequence.
type oddlySerial struct {
	ID int64 `gorm:"primaryKey"`
	V  int64 `gorm:"column:It's V;autoIncrement"`
}

func (oddly) TableName() string       { return "other.It's Odd" }
func (oddlySerial) TableName() string { return "other.It's Odd" }

// TestSequencesWithOddNamesInAnotherSchema is what the driver can't do: it writes
// the names without quotes, and without the schema.
func TestSequencesWithOddNamesInAnotherSchema(t *testing.T) {
	t.Parallel()
	_, ours := bothSides(t, `create table "It's Odd" (id bigserial, "It's V" serial)`)
	const owned = `select coalesce(pg_get_serial_sequence('other."It''s Odd"', 'It''s V'), '')`
	for _, step := range []struct {
		value any
		want  string
	}{
		{&oddly{}, ""},
		{&oddlySerial{}, `other."It's Odd_It's V_seq"`},
		{&oddlySerial{}, `other."It's Odd_It's V_seq"`}, // it grows to bigint
		{&oddly{}, ""},
	} {
		if err := ours.db.AutoMigrate(step.value); err != nil {
			t.Fatal(err)
		}
		if got := ask[string](t, ours.pool, owned); got != step.want {
			t.Errorf("%T: the column's sequence is %q, want %q", step.value, got, step.want)
		}
	}
	if log := strings.Join(ours.recorded.take(), "\n"); !strings.Contains(log, "ALTER SEQUENCE IF EXISTS other.It's Odd_It's V_seq AS bigint") {
		t.Errorf("the sequence has not grown:\n%s", log)
	}
	if n := ask[int](t, ours.pool, "select count(*)::int from pg_sequences where schemaname = 'tenant_a'"); n != 2 {
		t.Errorf("the default schema has %d sequences, want its own 2", n)
	}
	columns, err := ours.db.Migrator().ColumnTypes("It's Odd")
	if err != nil || len(columns) != 2 || columns[1].ScanType() == nil {
		t.Errorf("got columns %v, error %v", columns, err)
	}
}

func TestAnIdentityIsTakenAway(t *testing.T) {
	t.Parallel()
	_, ours := bothSides(t)
	for _, value := range []any{&identity{}, &text{}} {
		if err := ours.db.Table("t").AutoMigrate(value); err != nil {
			t.Fatal(err)
		}
	}
	if n := ask[int](t, ours.pool, "select count(*)::int from pg_sequences where sequencename = 't_v_seq'"); n != 0 {
		t.Error("the sequence is still there")
	}
}

// TestDryRunChangesNothing: the driver can't tell what it would alter.
func TestDryRunChangesNothing(t *testing.T) {
	t.Parallel()
	driver, ours := bothSides(t)
	dry := &gorm.Session{DryRun: true}
	for _, s := range []side{driver, ours} {
		if err := s.db.Session(dry).Table("t").AutoMigrate(&serial{}); err != nil {
			t.Fatal(err)
		}
	}
	mustMatch(t, "CREATE", driver.recorded.take(), ours.recorded.take())
	if err := ours.db.Table("t").AutoMigrate(&serial{}); err != nil {
		t.Fatal(err)
	}
	before := ours.tables(t)
	ours.recorded.take()
	if err := ours.db.Session(dry).Table("t").AutoMigrate(&bigSerial{}); err != nil {
		t.Fatal(err)
	}
	want := []string{"ALTER SEQUENCE IF EXISTS t_v_seq AS bigint", "ALTER TABLE t ALTER COLUMN v TYPE bigint", "ALTER TABLE t ALTER COLUMN v DROP NOT NULL"}
	if got := ours.recorded.take(); !slices.Equal(got, want) {
		t.Errorf("it would run %q, want %q", got, want)
	}
	mustMatch(t, "the tables", before, ours.tables(t))
	about := func(db *gorm.DB) (gorm.Migrator, any) { return db.Migrator(), "t" }
	mustMatch(t, "answers", answers(ours.db, about, []string{"v"}), answers(ours.db.Session(dry), about, []string{"v"}))
}

func TestIndexesAreInTheirOwnOrder(t *testing.T) {
	t.Parallel()
	_, ours := bothSides(t, "create table t (a int unique, b int, c int)",
		"create index second on t (c, a, b)", "create index first on t (b desc, a) include (c)", "create unique index third on t (b)",
		"create table refers (b int references t (b))", "alter table t add foreign key (c) references t (b)")
	indexes, err := ours.db.Migrator().GetIndexes("t")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, i := range indexes {
		got = append(got, i.Name()+" "+strings.Join(i.Columns(), ","))
	}
	if want := []string{"first b,a,c", "second c,a,b", "third b"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestTableType(t *testing.T) {
	t.Parallel()
	_, ours := bothSides(t, "create table t (a int)", "comment on table t is 'a table'", "create view v as select * from t",
		"create materialized view m as select * from t", "create table p (a int) partition by list (a)", "create table other.t (a int)")
	for name, want := range map[string]string{
		"t": "tenant_a t BASE TABLE a table", "v": "tenant_a v VIEW ", "m": "tenant_a m MATERIALIZED VIEW ",
		"p": "tenant_a p BASE TABLE ", "other.t": "other t BASE TABLE ",
	} {
		got, err := ours.db.Migrator().TableType(name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		comment, _ := got.Comment()
		if line := got.Schema() + " " + got.Name() + " " + got.Type() + " " + comment; line != want {
			t.Errorf("got %q, want %q", line, want)
		}
	}
	if _, err := ours.db.Migrator().TableType("absent"); !errors.Is(err, sql.ErrNoRows) {
		t.Errorf("got error %v, want %v", err, sql.ErrNoRows)
	}
}

// TestRightsHideNothing: what a role may not see it would make again.
func TestRightsHideNothing(t *testing.T) {
	t.Parallel()
	_, ours := bothSides(t, "create table t (a int primary key, b int unique)")
	role := "reader_" + strings.ToLower(strings.NewReplacer("-", "", "/", "").Replace(ask[string](t, ours.pool, "select substr(gen_random_uuid()::text, 1, 8)")))
	mustExec(t, ours.pool, "create role "+role, "grant usage on schema tenant_a to "+role, "grant select on tenant_a.t to "+role)
	t.Cleanup(func() { mustExec(t, ours.pool, "drop owned by "+role, "drop role "+role) })
	err := ours.db.Transaction(func(tx *gorm.DB) error {
		if err := tx.Exec("set local role " + role).Error; err != nil {
			return err
		}
		columns, err := tx.Migrator().ColumnTypes("t")
		if err != nil {
			return err
		}
		if primary, _ := columns[0].PrimaryKey(); !primary {
			t.Error("the key is not seen")
		}
		if unique, _ := columns[1].Unique(); !unique {
			t.Error("the unique constraint is not seen")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestQuestionsAreFew: one for the table, one for all columns, and one for each
// constraint and index.
func TestQuestionsAreFew(t *testing.T) {
	t.Parallel()
	_, ours := bothSides(t)
	models := []any{&benchCustomer{}, &benchInvoice{}, &benchLine{}}
	if err := ours.db.AutoMigrate(models...); err != nil {
		t.Fatal(err)
	}
	before := ours.recorded.reads.Load()
	ours.recorded.take()
	if err := ours.db.AutoMigrate(models...); err != nil {
		t.Fatal(err)
	}
	if log := ours.recorded.take(); len(log) != 0 {
		t.Errorf("there is something to do: %q", log)
	}
	const tables, constraints, indexes = 3, 3, 4
	if n := ours.recorded.reads.Load() - before; n != 2*tables+constraints+indexes {
		t.Errorf("it has asked %d questions, want %d", n, 2*tables+constraints+indexes)
	}
}
