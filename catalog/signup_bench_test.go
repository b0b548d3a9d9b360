package catalog_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/go-gormigrate/gormigrate/v2"
	"gorm.io/gorm"

	"github.com/tenantry/tenantry/catalog"
	"github.com/tenantry/tenantry/migrator"
	"github.com/tenantry/tenantry/scope"
)

const (
	benchRate = 20 // sign-ups a second
	benchBusy = 4  // goroutines that run statements of other tenants, one after the other
)

// perRound returns how many sign-ups a round has with a spare, and without one.
func perRound() (withSpare, ordinary int) {
	if testing.Short() {
		return 4, 1
	}
	return 20, 5
}

// thirty are the migrations of a service of some years: 10 tables, and 20 changes of
// them.
func thirty() migrator.Migrations {
	list := migrations()
	for i := len(list); i < 30; i++ {
		sql := fmt.Sprintf("create table t%[1]d (id bigint generated always as identity primary key, name text not null, at timestamptz not null default now()); create index on t%[1]d (at)", i)
		switch i % 3 {
		case 1:
			sql = fmt.Sprintf("alter table invoices add column c%d text not null default ''", i)
		case 2:
			sql = fmt.Sprintf("alter table invoices add column c%[1]d bigint; create index on invoices (c%[1]d)", i)
		}
		list = append(list, &gormigrate.Migration{ID: fmt.Sprintf("%d", i+1), Migrate: func(tx *gorm.DB) error { return tx.Exec(sql).Error }})
	}
	return list
}

// BenchmarkSignUp signs tenants up at a fixed rate, while other tenants' statements
// run and new spares are made, and then some without spares, in turns.
func BenchmarkSignUp(b *testing.B) {
	for _, kind := range []catalog.Kind{catalog.OwnSchema, catalog.OwnDatabase} {
		b.Run(string(kind), func(b *testing.B) { benchmarkSignUp(b, kind) })
	}
}

func benchmarkSignUp(b *testing.B, kind catalog.Kind) {
	list := catalog.WithMigrations(thirty())
	withSpare, without := perRound()
	spares, db, _ := service(b, list, catalog.WithSpares(kind, withSpare))
	ordinary, _, _ := service(b, list)
	create(b, ordinary, catalog.New{ID: unique("template"), Kind: kind})
	defer keepBusy(b, spares, db)()
	var fast, slow []time.Duration
	for b.Loop() {
		refilled(b, spares, withSpare)
		fast = append(fast, signUps(b, spares, kind, withSpare)...)
		refilled(b, spares, withSpare)
		for range without {
			slow = append(slow, timed(b, ordinary, kind))
		}
	}
	b.ReportMetric(ms(median(fast)), "ms/sign-up")
	b.ReportMetric(ms(median(slow)), "ms/ordinary")
	b.ReportMetric(float64(median(slow))/float64(median(fast)), "ratio")
	b.ReportMetric(ms(fast[len(fast)*95/100]), "ms/p95") // sorted by now
}

// refilled waits until there are n spares, however long that takes.
func refilled(b *testing.B, c *catalog.Catalog, n int) {
	b.Helper()
	for serversNamed(b, c)[catalog.Main].Spares < n {
		select {
		case <-b.Context().Done():
			b.Fatal(b.Context().Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// keepBusy runs statements of other tenants until stop is called.
func keepBusy(b *testing.B, c *catalog.Catalog, db *gorm.DB) (stop func()) {
	b.Helper()
	ctx, cancel := context.WithCancel(b.Context())
	var wg sync.WaitGroup
	for range benchBusy {
		db := db.WithContext(scope.With(ctx, create(b, c, catalog.New{ID: unique("busy")}).ID))
		wg.Go(func() {
			for ctx.Err() == nil {
				var found []Invoice
				err := db.Create(&Invoice{Title: "busy"}).Error
				if err == nil {
					err = db.Order("id desc").Limit(10).Find(&found).Error
				}
				if err != nil && ctx.Err() == nil {
					b.Error(err)
				}
			}
		})
	}
	return func() { cancel(); wg.Wait() }
}

// signUps starts n sign-ups at the rate, whether or not the ones before are done.
func signUps(b *testing.B, c *catalog.Catalog, kind catalog.Kind, n int) []time.Duration {
	b.Helper()
	took := make([]time.Duration, n)
	next := time.NewTicker(time.Second / benchRate)
	defer next.Stop()
	var wg sync.WaitGroup
	for i := range took {
		<-next.C
		wg.Go(func() { took[i] = timed(b, c, kind) })
	}
	wg.Wait()
	return took
}

func timed(b *testing.B, c *catalog.Catalog, kind catalog.Kind) time.Duration {
	start := time.Now()
	if _, err := c.Create(b.Context(), catalog.New{ID: unique("bench"), Kind: kind}); err != nil {
		b.Error(err)
	}
	return time.Since(start)
}

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
