package sqltext_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/sqltext"
)

func TestScan(t *testing.T) {
	t.Parallel()
	tests := []struct {
		query string
		want  sqltext.Traits
	}{
		{"", sqltext.Traits{}},
		{" ;; -- nothing\n ; /* ; commit */", sqltext.Traits{}},
		{"select 1", sqltext.Traits{Commands: 1, Repeats: true}},
		{"select 1;", sqltext.Traits{Commands: 1, Repeats: true}},
		{"select ';', \";\", $$;$$, $a$;$$;$a$, E'\\';' ; select 2", sqltext.Traits{Commands: 2}},
		{"select '\\'; commit", sqltext.Traits{Commands: 2, Control: true}}, // standard strings know no escapes
		{"select E'\\'; commit'", sqltext.Traits{Commands: 1, Repeats: true}},
		{"select $1; commit", sqltext.Traits{Commands: 2, Control: true}},
		{"select a$b$c; commit", sqltext.Traits{Commands: 2, Control: true}}, // a dollar inside of a word
		{"/* /* nested */ commit; */ select 1", sqltext.Traits{Commands: 1, Repeats: true}},
		{"commit", sqltext.Traits{Commands: 1, Control: true}},
		{"  -- x\n\tCoMMiT and chain", sqltext.Traits{Commands: 1, Control: true}},
		{"end", sqltext.Traits{Commands: 1, Control: true}},
		{"begin", sqltext.Traits{Commands: 1, Control: true}},
		{"start transaction", sqltext.Traits{Commands: 1, Control: true}},
		{"abort", sqltext.Traits{Commands: 1, Control: true}},
		{"prepare transaction 'x'", sqltext.Traits{Commands: 1, Control: true}},
		{"rollback", sqltext.Traits{Commands: 1, Control: true}},
		{"rollback to savepoint x", sqltext.Traits{Commands: 1}},
		{"rollback work to x", sqltext.Traits{Commands: 1}},
		{"savepoint x; release x", sqltext.Traits{Commands: 2}},
		{"set x = 1", sqltext.Traits{Commands: 1, SessionState: true}},
		{"set session x = 1", sqltext.Traits{Commands: 1, SessionState: true}},
		{"set local x = 1", sqltext.Traits{Commands: 1, Sets: true}},
		{"set transaction read only", sqltext.Traits{Commands: 1}},
		{"set constraints all deferred", sqltext.Traits{Commands: 1}},
		{"reset x", sqltext.Traits{Commands: 1, SessionState: true}},
		{"listen x", sqltext.Traits{Commands: 1, SessionState: true}},
		{"load 'x'", sqltext.Traits{Commands: 1, SessionState: true}},
		{"deallocate all", sqltext.Traits{Commands: 1, SessionState: true}},
		{"discard all", sqltext.Traits{Commands: 1, SessionState: true}},
		{"discard temp", sqltext.Traits{Commands: 1}},
		{"prepare x as select 1", sqltext.Traits{Commands: 1, SessionState: true}},
		{"declare c cursor for select 1", sqltext.Traits{Commands: 1}},
		{"declare c cursor with Hold for select 1", sqltext.Traits{Commands: 1, SessionState: true}},
		{"select Set_Config('a', 'b', false)", sqltext.Traits{Commands: 1, SessionState: true}},
		{"select pg_try_advisory_lock(1)", sqltext.Traits{Commands: 1, SessionState: true}},
		{"select pg_advisory_xact_lock(1)", sqltext.Traits{Commands: 1, Repeats: true}},
		{"update t set x = 1", sqltext.Traits{Commands: 1, Repeats: true}},
		{"update pg_settings set setting = 'x' where name = 'y'", sqltext.Traits{Commands: 1, SessionState: true}},
		{"select * from pg_settings", sqltext.Traits{Commands: 1, Repeats: true}},
		{"create table begin atomic; end", sqltext.Traits{Commands: 2, Control: true}},
		{"call p()", sqltext.Traits{Commands: 1, Code: true}},
		{"do $x$ begin commit; end $x$", sqltext.Traits{Commands: 1, Code: true, HasDo: true}},
		{"create function f() returns int begin atomic select case when true then 1 end; select 2; end; commit", sqltext.Traits{Commands: 3, Control: true}},
		{"create function f() returns int begin atomic select 1; end", sqltext.Traits{Commands: 1}},
		{"create function f() returns int begin atomic select 1; end; end", sqltext.Traits{Commands: 2, Control: true}},
		{"create function f(x int) returns int begin atomic select $1 as case; end; commit", sqltext.Traits{Commands: 2, Control: true}},
		{"create function f() returns void begin atomic end", sqltext.Traits{Commands: 1}},
		{"create function f() returns void begin atomic end; end", sqltext.Traits{Commands: 2, Control: true}},
		{"create or replace procedure f() begin atomic select 1; end; end", sqltext.Traits{Commands: 2, Control: true}},
		{"create function f() returns int begin atomic select x.begin atomic from (select 1 as begin) x; end; end", sqltext.Traits{Commands: 2, Control: true}},
		{"create function f(begin atomic) returns int language sql as 'select 1'; end", sqltext.Traits{Commands: 2, Control: true}},
		{"create or replace view v as select x.begin atomic from (select 1 as begin) x; end", sqltext.Traits{Commands: 2, Control: true}},
		{"select begin atomic from (select 1 as begin) x; commit", sqltext.Traits{Commands: 2, Control: true}},
		{"select begin atomic from (select 1 as begin) x; end", sqltext.Traits{Commands: 2, Control: true}},
		{"select E'a'\n'\\''; commit; --'", sqltext.Traits{Commands: 2, Control: true}},
		{"select E'a' -- x\n '\\'; commit'", sqltext.Traits{Commands: 1, Repeats: true}},
		{"select E'a' '\\'; commit", sqltext.Traits{Commands: 2, Control: true}}, // on one line it is another string
		{`select E'a''\''; commit; --'`, sqltext.Traits{Commands: 2, Control: true}},
		{`select E'a''\'''; commit; --'`, sqltext.Traits{Commands: 1, Repeats: true}},
		{`select E'''\\'; commit; --'`, sqltext.Traits{Commands: 2, Control: true}},
		{`select 'a''\'; commit; --'`, sqltext.Traits{Commands: 2, Control: true}},
		{"update$", sqltext.Traits{Commands: 1}},
		{"set local.who = 'a'", sqltext.Traits{Commands: 1, SessionState: true, Sets: true}},
		{"set transaction.who = 'a'", sqltext.Traits{Commands: 1, SessionState: true}},
		{"create function f() returns int language sql as 'select 1; commit'", sqltext.Traits{Commands: 1}},
		{"copy t from stdin", sqltext.Traits{Commands: 1, Copies: true}},
		{"/* x */ Copy t (a, b)\n-- from program\nFROM/**/STDIN with (format csv)", sqltext.Traits{Commands: 1, Copies: true}},
		{"copy t from stdout", sqltext.Traits{Commands: 1, Copies: true}}, // the same to PostgreSQL
		{"copy binary s.\"from\" from stdin;", sqltext.Traits{Commands: 1, Copies: true}},
		{"select 1; copy t to stdout", sqltext.Traits{Commands: 2, Copies: true}},
		{"copy (select * from stdin) to stdout", sqltext.Traits{Commands: 1, Copies: true}},
		{"copy (select * from stdin) to '/tmp/x'; copy u from stdin", sqltext.Traits{Commands: 2, Copies: true}},
		{"copy (select * from stdin) to '/tmp/x'", sqltext.Traits{Commands: 1}},
		{"copy stdin from '/tmp/x'", sqltext.Traits{Commands: 1}},
		{"copy t from program 'stdin'", sqltext.Traits{Commands: 1}},
		{"copy t from '/tmp/x' where a is distinct from stdin", sqltext.Traits{Commands: 1}},
		{"copy t from 'stdin' -- from stdin", sqltext.Traits{Commands: 1}},
		{"copy t from '/tmp/x'; select * from stdin", sqltext.Traits{Commands: 2}},
		{"comment on table copy is 'from stdin'", sqltext.Traits{Commands: 1}},
		{"select 'open", sqltext.Traits{Commands: 1, Repeats: true}},
		{"select $x$ open", sqltext.Traits{Commands: 1, Repeats: true}},
		{"select /* open", sqltext.Traits{Commands: 1, Repeats: true}},
		{"(select 1)", sqltext.Traits{Commands: 1}},
	}
	for _, tt := range tests {
		if got := sqltext.Scan(tt.query); got != tt.want {
			t.Errorf("%q: got %+v, want %+v", tt.query, got, tt.want)
		}
	}
}

// TestScanIsLinear, whatever the text repeats: a hundred times the text takes about a hundred times
// the time, and not ten thousand times.
func TestScanIsLinear(t *testing.T) { //nolint:paralleltest // it measures time
	took := func(query string) time.Duration {
		best := time.Hour
		for range 3 {
			start := time.Now()
			sqltext.Scan(query)
			sqltext.TempNames(query)
			sqltext.HasLiteral(query)
			best = min(best, time.Since(start))
		}
		return best
	}
	mustBeLinear := func(name string, text func(times int) string) {
		short, long := took(text(100)), took(text(10_000))
		if long > 1000*max(short, 50*time.Microsecond) {
			t.Errorf("%s: one took %v, a hundred %v", name, short, long)
		}
	}
	for _, lead := range []string{"", "lock t;"} { // what begins as most statements do is not read as a whole
		for _, part := range []string{
			"pg_settings ", "_", "set_", "declare;", "declare c cursor;", "copy;", "copy t from x;", "copy (", "begin atomic ", "create function begin atomic ",
			"/*", "/**/", "*/", "-", "--", "--\n", "- ", "'", "''", "e'", "e''\n", "e'' ", "e''--\n", "e'\\", "E'x'\n'y'", "\"", "$", "$$", "$a", "$a$", "$1", "$a$ $b$ ", "a$", "a$$b$$", "(", ";", "; ", "é", "\x00", "\r",
			"select 1;", "set local x = 1;", "end;", "do $$$$;", "upd", "hol", "prepare transaction;",
		} {
			mustBeLinear(fmt.Sprintf("%q %q", lead, part), func(times int) string { return lead + strings.Repeat(part, 20*times/len(part)) })
		}
	}
	mustBeLinear("tags of which none comes twice", func(times int) string {
		var b strings.Builder
		for i := range times {
			fmt.Fprintf(&b, "$a%d ", i)
		}
		return b.String()
	})
}

// FuzzScan checks that Scan returns for every text, and that its short cut for common
// statements, which a semicolon in front rules out, agrees with the full reading.
func FuzzScan(f *testing.F) {
	f.Add("select 'a'; commit")
	f.Add("$a$ $b$ /* -- ")
	f.Add("update pg_settings set setting = 1")
	f.Fuzz(func(t *testing.T, query string) {
		if short, full := sqltext.Scan(query), sqltext.Scan(";"+query); short != full {
			t.Errorf("%q: %+v, with a semicolon in front %+v", query, short, full)
		}
	})
}

func BenchmarkScan(b *testing.B) {
	const query = `SELECT "invoices"."id","invoices"."title","invoices"."cents" FROM "invoices" WHERE "invoices"."deleted_at" IS NULL AND title = $1 ORDER BY "invoices"."id" LIMIT 1`
	b.ReportAllocs()
	for b.Loop() {
		sqltext.Scan(query)
	}
}
