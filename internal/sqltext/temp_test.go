package sqltext_test

import (
	"slices"
	"testing"

	"github.com/tenantry/tenantry/internal/sqltext"
)

func TestTempNames(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		query string
		want  []string
	}{
		{"create temp table x (n int)", []string{"x"}},
		{"CREATE LOCAL TEMPORARY TABLE IF NOT EXISTS X as select 1", []string{"X"}},
		{"create/**/global -- x\n temp /* /* */ */ table\n\"x\" ()", []string{`"x"`}},
		{`create temp table "a""b" ()`, []string{`"a""b"`}},
		{`create temp table U&"\0078" ()`, []string{`U&"\0078"`}},
		{"create temp view x as select 1", []string{"x"}},
		{"create or replace temp recursive view x (n) as select 1", []string{"x"}},
		{"create temporary sequence if not exists x", []string{"x"}},
		{"create table pg_temp.x ()", []string{"x"}},
		{`create temp table "pg_temp" . "X" ()`, []string{`"X"`}},
		{"create unlogged table pg_temp_3.x ()", []string{"x"}},
		{"create foreign table pg_temp.x () server s", []string{"x"}},
		{`create table U&"pg\005ftemp".x ()`, []string{"x"}},
		{"select 1 as n into temp x from y", []string{"x"}},
		{"with y as (select 1) select * into local temporary table x from y", []string{"x"}},
		{"select * into pg_temp.x from y", []string{"x"}},
		{"explain analyze create temp table x as select 1", []string{"x"}},
		{"create temp table x (); delete from x; create temp table y ()", []string{"x", "y"}},
		{"create table x (temp int)", nil},
		{"create table temp (n int)", nil},
		{"create table temp.x (n int)", nil},
		{"insert into temp (n) values (1)", nil},
		{"insert into temp select 1", nil},
		{"merge into temp t using y on true when matched then delete", nil},
		{"select 'create temp table x ()'", nil},
		{"select 1 -- create temp table x ()", nil},
		{"do $$ begin create temp table x (); end $$", nil},
		{"create function pg_temp.f() returns int language sql as 'select 1'", nil},
		{"create temp table", nil},
		{"create temp table if not exists", nil},
		{"create temp", nil},
		{"create temp table a.", nil},
		{"create temp table U&", []string{"U"}},
		{"select temperature from t", nil},
		{"select a into", nil},
		{"create temp table x", []string{"x"}},
	} {
		if got := sqltext.TempNames(tt.query); !slices.Equal(got, tt.want) {
			t.Errorf("%q: got %q, want %q", tt.query, got, tt.want)
		}
	}
}

// FuzzTempNames checks that TempNames returns for every text, and that a statement in front changes
// nothing. The short cut for texts without the word does not apply there.
func FuzzTempNames(f *testing.F) {
	f.Add("create temp table \"a\"\"b\".u&\"c\" ()")
	f.Add("select 1 into local temp table")
	f.Fuzz(func(t *testing.T, query string) {
		want := append([]string{"x"}, sqltext.TempNames(query)...)
		if got := sqltext.TempNames("create temp table x ();" + query); !slices.Equal(got, want) {
			t.Errorf("%q: got %q behind a statement, want %q", query, got, want)
		}
	})
}

func BenchmarkTempNames(b *testing.B) {
	const query = `SELECT "invoices"."id","invoices"."title","invoices"."cents" FROM "invoices" WHERE "invoices"."deleted_at" IS NULL AND title = $1 ORDER BY "invoices"."id" LIMIT 1`
	b.ReportAllocs()
	for b.Loop() {
		sqltext.TempNames(query)
	}
}
