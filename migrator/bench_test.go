package migrator_test

import (
	"cmp"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-gormigrate/gormigrate/v2"
	"golang.org/x/sync/errgroup"

	"github.com/tenantry/tenantry/internal/pgproxy"
	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
	"github.com/tenantry/tenantry/migrator"
	"github.com/tenantry/tenantry/plugin"
)

var silent = migrator.WithLogger(slog.New(slog.DiscardHandler))

// fleet returns n tenants, whose ids begin with prefix.
func fleet(t testing.TB, prefix string, n int) migrator.List {
	ids := make([]string, n)
	for i := range ids {
		ids[i] = fmt.Sprintf("%s%05d", prefix, i)
	}
	return tenants(t, ids...)
}

// provide makes schemas in which the migration 0001 has run, faster than a migrator
// would.
func provide(t testing.TB, dsn string, list migrator.List, table string) {
	t.Helper()
	pool := admin(t, dsn)
	for part := range slices.Chunk(list, 100) { // each object takes a place in the lock table
		var sql strings.Builder
		for _, tenant := range part {
			fmt.Fprintf(&sql, `create schema "tenant_%[1]s"; create table "tenant_%[1]s".migrations (id varchar(255) primary key); insert into "tenant_%[1]s".migrations values ('0001');`, tenant)
			fmt.Fprintf(&sql, cmp.Or(table, "-- %s\n"), fmt.Sprintf(`"tenant_%s"`, tenant))
		}
		if _, err := pool.Exec(t.Context(), sql.String()); err != nil {
			t.Fatal(err)
		}
	}
}

// TestNothingToDoCostsTheSameForAnyFleet counts round trips at the socket.
func TestNothingToDoCostsTheSameForAnyFleet(t *testing.T) {
	t.Parallel()
	one := []*gormigrate.Migration{text("0001", "select 1")}
	trips := map[int]int64{}
	for _, n := range []int{10, 1000} {
		dsn := pgtest.Database(t)
		list := fleet(t, "t", n)
		provide(t, dsn, list, "")
		proxy := pgproxy.Start(t, dsn)
		m := migrator.New(open(t, proxy.DSN(dsn), plugin.BySchema()), list, one, silent)
		for try := range 5 { // the first has to have a look at all of them
			before := proxy.RoundTrips()
			report, err := m.Run(t.Context())
			if err != nil || report.Run != 0 || report.Count(migrator.Current) != n {
				t.Fatalf("%d tenants: run %d, %d current, %v", n, report.Run, report.Count(migrator.Current), err)
			}
			// The end of a connection is counted now or with the next.
			if spent := proxy.RoundTrips() - before; try == 1 || try > 1 && spent < trips[n] {
				trips[n] = spent
			}
		}
	}
	t.Logf("round trips by number of tenants: %v", trips)
	if trips[1000] > trips[10]+1 || trips[10] < 2 || trips[10] > 6 { // one more if a reply comes in two parts
		t.Errorf("round trips by number of tenants: %v", trips)
	}
}

// large returns n, or a tenth of it where the benchmark need only be seen to work.
func large(n int) int {
	if testing.Short() {
		return n / 10
	}
	return n
}

// BenchmarkNothingToDo is a start-up with 10,000 tenants that are all current.
func BenchmarkNothingToDo(b *testing.B) {
	dsn := pgtest.Database(b)
	list := fleet(b, "t", large(10_000))
	provide(b, dsn, list, "")
	m := migrator.New(open(b, dsn, plugin.BySchema()), list, []*gormigrate.Migration{text("0001", "select 1")}, silent)
	start := time.Now()
	if _, err := m.Run(b.Context()); err != nil {
		b.Fatal(err)
	}
	first := time.Since(start)
	for b.Loop() {
		if report, err := m.Run(b.Context()); err != nil || report.Run != 0 {
			b.Fatal(report.Run, err)
		}
	}
	b.ReportMetric(first.Seconds()*1000, "ms-first-sight")
}

// BenchmarkNewColumn adds a column to 1,000 tenants, and to as many by psql over
// as many connections, in turns.
func BenchmarkNewColumn(b *testing.B) {
	const conns = 4
	dsn := pgtest.Database(b)
	ours, theirs := fleet(b, "o", large(1000)), fleet(b, "p", large(1000))
	const table = "create table %s.invoices (id bigserial primary key, title text);"
	provide(b, dsn, ours, table)
	provide(b, dsn, theirs, table)
	db := open(b, dsn, plugin.BySchema())
	migrations := []*gormigrate.Migration{text("0001", "select 1")}
	if _, err := migrator.New(db, ours, migrations, silent).Run(b.Context()); err != nil {
		b.Fatal(err)
	}
	var we, psql []time.Duration
	for n := 2; b.Loop(); n++ {
		id := fmt.Sprintf("%04d", n)
		migrations = append(migrations, text(id, "alter table invoices add column c"+id+" text"))
		scripts := writeScripts(b, theirs, conns, id)
		start := time.Now()
		if _, err := migrator.New(db, ours, migrations, silent, migrator.WithConcurrency(conns)).Run(b.Context()); err != nil {
			b.Fatal(err)
		}
		we = append(we, time.Since(start))
		start = time.Now()
		runScripts(b, dsn, scripts)
		psql = append(psql, time.Since(start))
	}
	a, p := median(we), median(psql)
	b.ReportMetric(a.Seconds()*1000, "ms-ours")
	b.ReportMetric(p.Seconds()*1000, "ms-psql")
	b.ReportMetric(float64(p)/float64(a), "speed-of-psql")
}

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}

// writeScripts writes what one would feed to psql: for each tenant one transaction.
func writeScripts(b *testing.B, list migrator.List, n int, id string) (files []string) {
	b.Helper()
	scripts := make([]strings.Builder, n)
	for i, t := range list {
		fmt.Fprintf(&scripts[i%n], "begin;\nalter table \"tenant_%[1]s\".invoices add column c%[2]s text;\ninsert into \"tenant_%[1]s\".migrations (id) values ('%[2]s');\ncommit;\n", t, id)
	}
	dir := b.TempDir()
	for i := range scripts {
		name := filepath.Join(dir, fmt.Sprintf("%s-%d.sql", id, i))
		if err := os.WriteFile(name, []byte(scripts[i].String()), 0o600); err != nil {
			b.Fatal(err)
		}
		files = append(files, name)
	}
	return files
}

func runScripts(b *testing.B, dsn string, files []string) {
	b.Helper()
	psql := findPsql(b)
	var group errgroup.Group
	for _, f := range files {
		group.Go(func() error {
			out, err := exec.CommandContext(b.Context(), psql, "-Xq", "-v", "ON_ERROR_STOP=1", "-f", f, dsn).CombinedOutput()
			if err != nil {
				return fmt.Errorf("psql: %w: %s", err, out)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		b.Fatal(err)
	}
}

func findPsql(b *testing.B) string {
	b.Helper()
	if path, err := exec.LookPath("psql"); err == nil {
		return path
	}
	installed, err := filepath.Glob("/usr/lib/postgresql/*/bin/psql")
	if err != nil || len(installed) == 0 {
		b.Fatal("psql is not installed")
	}
	return installed[len(installed)-1]
}
