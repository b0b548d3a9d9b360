package pgcatalog_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
)

// The ten models of the benchmark. Short strings keep PostgreSQL from making a
// TOAST table for each table, which halves the time to set up.
type (
	benchCustomer struct {
		ID    int64
		Name  string `gorm:"size:80;index"`
		Email string `gorm:"size:80;unique"`
		At    time.Time
	}
	benchInvoice struct {
		ID         int64
		CustomerID int64 `gorm:"index"`
		Customer   *benchCustomer
		Number     string `gorm:"size:20;uniqueIndex"`
		Cents      int64  `gorm:"not null;default:0"`
	}
	benchLine struct {
		ID        int64
		InvoiceID int64 `gorm:"index"`
		Invoice   *benchInvoice
		Text      string `gorm:"size:80;comment:what is paid for"`
		Cents     int64  `gorm:"check:cents >= 0"`
	}
	benchPayment struct {
		ID        int64
		InvoiceID int64
		Invoice   *benchInvoice
		Cents     int64
		At        time.Time `gorm:"default:now()"`
	}
	benchProduct struct {
		ID    int64
		Code  string  `gorm:"size:20;uniqueIndex:idx_code_kind"`
		Kind  string  `gorm:"size:20;uniqueIndex:idx_code_kind"`
		Price float64 `gorm:"type:numeric(10,2)"`
	}
	benchUser struct {
		ID    int64
		Login string `gorm:"size:40;unique"`
		Admin bool   `gorm:"default:false"`
	}
	benchSession struct {
		ID     int64
		UserID int64 `gorm:"index"`
		User   *benchUser
		Until  time.Time
	}
	benchNote struct {
		ID   int64
		Text string `gorm:"size:80"`
	}
	benchTag struct {
		ID   int64
		Name string `gorm:"size:20;unique"`
	}
	benchSetting struct {
		Name  string `gorm:"size:40;primaryKey"`
		Value string `gorm:"size:80;not null"`
	}
)

func benchModels() []any {
	return []any{&benchCustomer{}, &benchInvoice{}, &benchLine{}, &benchPayment{}, &benchProduct{},
		&benchUser{}, &benchSession{}, &benchNote{}, &benchTag{}, &benchSetting{}}
}

// BenchmarkNoOpAutoMigrate is of ten models, in one of 2,000 schemas that have
// their tables, by the driver's migrator and by ours in turn, and by ours among
// 100 schemas. With -short, 200 stand for the 2,000.
//
//	go test -bench NoOpAutoMigrate -benchtime 5x -run '^$' ./internal/pgcatalog
func BenchmarkNoOpAutoMigrate(b *testing.B) {
	many := 2000
	if testing.Short() {
		many = 200
	}
	fewDriver, fewOurs := fleet(b, 100)
	manyDriver, manyOurs := fleet(b, many)
	for _, db := range []*gorm.DB{fewDriver, fewOurs, manyDriver, manyOurs} {
		noOp(b, db) // fill the caches of the sessions
	}
	var driver, ours, few []time.Duration
	for b.Loop() {
		driver = append(driver, noOp(b, manyDriver))
		for range 3 {
			ours = append(ours, noOp(b, manyOurs))
			few = append(few, noOp(b, fewOurs))
		}
	}
	b.ReportMetric(0, "ns/op") // of all three together it means nothing
	b.ReportMetric(millis(driver), "driver-ms/op")
	b.ReportMetric(millis(ours), "ours-ms/op")
	b.ReportMetric(millis(few), "ours-100-schemas-ms/op")
	b.ReportMetric(millis(ours)/millis(driver), "ratio")
	b.ReportMetric(millis(ours)/millis(few), "growth")
}

// millis is the median.
func millis(times []time.Duration) float64 {
	slices.Sort(times)
	return float64(times[len(times)/2].Microseconds()) / 1000
}

func noOp(b *testing.B, db *gorm.DB) time.Duration {
	b.Helper()
	start := time.Now()
	if err := db.AutoMigrate(benchModels()...); err != nil {
		b.Fatal(err)
	}
	return time.Since(start)
}

// fleet makes a database of n schemas, all with the tables of the models, and
// returns the driver's view of one in the middle, and ours.
func fleet(b *testing.B, n int) (driver, ours *gorm.DB) {
	b.Helper()
	dsn := pgtest.Database(b)
	pool := connect(b, dsn, "")
	mustExec(b, pool, "create schema tenant_t0")
	quoted := &verbatim{Interface: logger.Discard}
	if err := openDriver(b, dsn, "tenant_t0", quoted).AutoMigrate(benchModels()...); err != nil {
		b.Fatal(err)
	}
	const atOnce = 50 // a transaction has a lock for each table and index that it makes
	var group errgroup.Group
	group.SetLimit(2)
	for first := 1; first < n; first += atOnce {
		script := fmt.Sprintf(`do $do$ begin
			for i in %d..%d loop
				execute 'create schema tenant_t' || i;
				perform set_config('search_path', 'tenant_t' || i, true);
				execute $ddl$%s$ddl$;
			end loop;
		end $do$`, first, min(first+atOnce, n)-1, strings.Join(quoted.ddl, ";\n"))
		group.Go(func() error {
			_, err := pool.Exec(context.Background(), script)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		b.Fatal(err)
	}
	mustExec(b, pool, "vacuum analyze pg_namespace, pg_class, pg_attribute, pg_attrdef, pg_type, pg_index, pg_constraint, pg_depend, pg_description") // as autovacuum will have done
	middle := fmt.Sprint("t", n/2)
	return openDriver(b, dsn, "tenant_"+middle, logger.Discard), openOurs(b, dsn, &gorm.Config{}).WithContext(as(b, middle))
}

// verbatim keeps the statements that make tables.
type verbatim struct {
	logger.Interface
	ddl []string
}

func (v *verbatim) LogMode(logger.LogLevel) logger.Interface { return v }

func (v *verbatim) Trace(_ context.Context, _ time.Time, statement func() (string, int64), _ error) {
	if sql, _ := statement(); !strings.HasPrefix(strings.TrimSpace(sql), "SELECT") {
		v.ddl = append(v.ddl, sql)
	}
}
