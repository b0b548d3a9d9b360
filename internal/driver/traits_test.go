package driver

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestTraits(t *testing.T) {
	t.Parallel()
	tests := []struct {
		query string
		want  traits
	}{
		{"", traits{}},
		{" ;; -- nothing\n ; /* ; commit */", traits{}},
		{"select 1", traits{commands: 1, repeats: true}},
		{"select 1;", traits{commands: 1, repeats: true}},
		{"select ';', \";\", $$;$$, $a$;$$;$a$, E'\\';' ; select 2", traits{commands: 2}},
		{"select '\\'; commit", traits{commands: 2, control: true}}, // standard strings know no escapes
		{"select E'\\'; commit'", traits{commands: 1, repeats: true}},
		{"select $1; commit", traits{commands: 2, control: true}},
		{"select a$b$c; commit", traits{commands: 2, control: true}}, // a dollar inside of a word
		{"/* /* nested */ commit; */ select 1", traits{commands: 1, repeats: true}},
		{"commit", traits{commands: 1, control: true}},
		{"  -- x\n\tCoMMiT and chain", traits{commands: 1, control: true}},
		{"end", traits{commands: 1, control: true}},
		{"begin", traits{commands: 1, control: true}},
		{"start transaction", traits{commands: 1, control: true}},
		{"abort", traits{commands: 1, control: true}},
		{"prepare transaction 'x'", traits{commands: 1, control: true}},
		{"rollback", traits{commands: 1, control: true}},
		{"rollback to savepoint x", traits{commands: 1}},
		{"rollback work to x", traits{commands: 1}},
		{"savepoint x; release x", traits{commands: 2}},
		{"set x = 1", traits{commands: 1, taints: true}},
		{"set session x = 1", traits{commands: 1, taints: true}},
		{"set local x = 1", traits{commands: 1, sets: true}},
		{"set transaction read only", traits{commands: 1}},
		{"set constraints all deferred", traits{commands: 1}},
		{"reset x", traits{commands: 1, taints: true}},
		{"listen x", traits{commands: 1, taints: true}},
		{"load 'x'", traits{commands: 1, taints: true}},
		{"deallocate all", traits{commands: 1, taints: true}},
		{"discard all", traits{commands: 1, taints: true}},
		{"discard temp", traits{commands: 1}},
		{"prepare x as select 1", traits{commands: 1, taints: true}},
		{"declare c cursor for select 1", traits{commands: 1}},
		{"declare c cursor with Hold for select 1", traits{commands: 1, taints: true}},
		{"select Set_Config('a', 'b', false)", traits{commands: 1, taints: true}},
		{"select pg_try_advisory_lock(1)", traits{commands: 1, taints: true}},
		{"select pg_advisory_xact_lock(1)", traits{commands: 1, repeats: true}},
		{"update t set x = 1", traits{commands: 1, repeats: true}},
		{"update pg_settings set setting = 'x' where name = 'y'", traits{commands: 1, taints: true}},
		{"select * from pg_settings", traits{commands: 1, repeats: true}},
		{"create table begin atomic; end", traits{commands: 2, control: true}},
		{"call p()", traits{commands: 1, code: true}},
		{"do $x$ begin commit; end $x$", traits{commands: 1, code: true, opaque: true}},
		{"create function f() returns int begin atomic select case when true then 1 end; select 2; end; commit", traits{commands: 3, control: true}},
		{"create function f() returns int begin atomic select 1; end", traits{commands: 1}},
		{"create function f() returns int begin atomic select 1; end; end", traits{commands: 2, control: true}},
		{"create function f(x int) returns int begin atomic select $1 as case; end; commit", traits{commands: 2, control: true}},
		{"select begin atomic from (select 1 as begin) x; commit", traits{commands: 2, control: true}},
		{"select begin atomic from (select 1 as begin) x; end", traits{commands: 2, control: true}},
		{"select E'a'\n'\\''; commit; --'", traits{commands: 2, control: true}},
		{"select E'a' -- x\n '\\'; commit'", traits{commands: 1, repeats: true}},
		{"select E'a' '\\'; commit", traits{commands: 2, control: true}}, // on one line it is another string
		{"set local.who = 'a'", traits{commands: 1, taints: true, sets: true}},
		{"set transaction.who = 'a'", traits{commands: 1, taints: true}},
		{"create function f() returns int language sql as 'select 1; commit'", traits{commands: 1}},
		{"copy t from stdin", traits{commands: 1, streams: true}},
		{"/* x */ Copy t (a, b)\n-- from program\nFROM/**/STDIN with (format csv)", traits{commands: 1, streams: true}},
		{"copy t from stdout", traits{commands: 1, streams: true}}, // the same to PostgreSQL
		{"copy binary s.\"from\" from stdin;", traits{commands: 1, streams: true}},
		{"select 1; copy t to stdout", traits{commands: 2, streams: true}},
		{"copy (select * from stdin) to stdout", traits{commands: 1, streams: true}},
		{"copy (select * from stdin) to '/tmp/x'; copy u from stdin", traits{commands: 2, streams: true}},
		{"copy (select * from stdin) to '/tmp/x'", traits{commands: 1}},
		{"copy stdin from '/tmp/x'", traits{commands: 1}},
		{"copy t from program 'stdin'", traits{commands: 1}},
		{"copy t from '/tmp/x' where a is distinct from stdin", traits{commands: 1}},
		{"copy t from 'stdin' -- from stdin", traits{commands: 1}},
		{"copy t from '/tmp/x'; select * from stdin", traits{commands: 2}},
		{"comment on table copy is 'from stdin'", traits{commands: 1}},
		{"select 'open", traits{commands: 1, repeats: true}},
		{"select $x$ open", traits{commands: 1, repeats: true}},
		{"select /* open", traits{commands: 1, repeats: true}},
		{"(select 1)", traits{commands: 1}},
	}
	for _, tt := range tests {
		if got := traitsOf(tt.query); got != tt.want {
			t.Errorf("%q: got %+v, want %+v", tt.query, got, tt.want)
		}
	}
}

// TestTraitsAreFoundInLinearTime, whatever the text repeats: a hundred times the text takes about a hundred times
// the time, and not ten thousand times.
func TestTraitsAreFoundInLinearTime(t *testing.T) { //nolint:paralleltest // it measures time
	took := func(query string) time.Duration {
		best := time.Hour
		for range 3 {
			start := time.Now()
			traitsOf(query)
			hasLiteral(query)
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

func FuzzTraits(f *testing.F) {
	f.Add("select 'a'; commit")
	f.Add("$a$ $b$ /* -- ")
	f.Fuzz(func(_ *testing.T, query string) {
		traitsOf(query) // ends, and does not panic
	})
}

func BenchmarkTraits(b *testing.B) {
	const query = `SELECT "invoices"."id","invoices"."title","invoices"."cents" FROM "invoices" WHERE "invoices"."deleted_at" IS NULL AND title = $1 ORDER BY "invoices"."id" LIMIT 1`
	b.ReportAllocs()
	for b.Loop() {
		traitsOf(query)
	}
}
