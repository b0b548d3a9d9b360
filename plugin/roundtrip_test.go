package plugin_test

import (
	"context"
	"testing"
	"time"

	"gorm.io/gorm"

	"github.com/tenantry/tenantry/internal/pgproxy"
	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
	"github.com/tenantry/tenantry/plugin"
)

// Note has a plain column and one whose type must be known.
type Note struct {
	ID   int64
	Text string
	Data []byte
}

// hookedNote has a hook, which keeps GORM's transaction.
type hookedNote struct{ Note }

func (hookedNote) TableName() string           { return "notes" }
func (*hookedNote) AfterCreate(*gorm.DB) error { return nil }

// work is one unit of application code.
type work struct {
	name  string
	trips int64 // of a tenant
	plain int64 // of plain GORM
	run   func(db *gorm.DB) error
}

var works = []work{
	{"read", 1, 1, func(db *gorm.DB) error { return db.First(&Note{}, 1).Error }},
	{"raw read", 1, 1, func(db *gorm.DB) error { var n int; return db.Raw("select count(*) from notes").Scan(&n).Error }},
	{"write", 1, 3, func(db *gorm.DB) error { return db.Create(&Note{Text: "x"}).Error }},
	{"write in GORM's default transaction", 2, 3, func(db *gorm.DB) error { return db.Create(&hookedNote{Note{Text: "x"}}).Error }},
	{"write without it", 1, 1, func(db *gorm.DB) error {
		return db.Session(&gorm.Session{SkipDefaultTransaction: true}).Create(&Note{Text: "x"}).Error
	}},
	{"write of bytes", 1, 3, func(db *gorm.DB) error { return db.Create(&Note{Data: []byte{0, 1}}).Error }},
	{"transaction with one read", 2, 3, func(db *gorm.DB) error {
		return db.Transaction(func(tx *gorm.DB) error { return tx.First(&Note{}, 1).Error })
	}},
	{"transaction that rolls back", 2, 3, func(db *gorm.DB) error {
		tx := db.Begin()
		tx.First(&Note{}, 1)
		return tx.Rollback().Error
	}},
	{"transaction without a statement", 0, 2, func(db *gorm.DB) error { return db.Transaction(func(*gorm.DB) error { return nil }) }},
	{"transaction of five", 6, 7, func(db *gorm.DB) error {
		return db.Transaction(func(tx *gorm.DB) error {
			for range 5 {
				if err := tx.First(&Note{}, 1000).Error; err != nil {
					return err
				}
			}
			return nil
		})
	}},
	{"transaction that begins with a text", 2, 3, func(db *gorm.DB) error {
		return db.Transaction(func(tx *gorm.DB) error { return tx.Exec("update notes set text = text where id = 1000").Error })
	}},
	{"Exec without arguments", 1, 1, func(db *gorm.DB) error { return db.Exec("update notes set text = text where id = 1000").Error }},
}

// TestRoundTrips counts at the socket, while the tenant changes with every
// statement, and counts plain GORM by the same proxy.
func TestRoundTrips(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	mustExec(t, admin(t, dsn), "create schema tenant_a", "create schema tenant_b")
	proxy := pgproxy.Start(t, dsn)
	db, _ := open(t, proxy.DSN(dsn), nil, plugin.BySchema(), plugin.WithMaxConns(1))
	plain := openPlain(t, proxy.DSN(dsn), nil)
	t.Cleanup(func() {
		if pool, err := plain.DB(); err != nil || pool.Close() != nil {
			t.Error("can't close the plain pool")
		}
	})
	tenants := []*gorm.DB{db.WithContext(as(t, "a")), db.WithContext(as(t, "b"))}
	for _, db := range append(tenants, plain) {
		if err := db.AutoMigrate(&Note{}); err != nil {
			t.Fatal(err)
		}
		if err := db.Create(&Note{ID: 1000}).Error; err != nil {
			t.Fatal(err)
		}
	}
	count := func(f func() error) int64 {
		t.Helper()
		before := proxy.RoundTrips()
		if err := f(); err != nil && err.Error() != "record not found" {
			t.Fatal(err)
		}
		return proxy.RoundTrips() - before
	}
	for _, w := range works {
		for _, db := range append(tenants, plain) { // each once, to prepare what plain GORM prepares
			count(func() error { return w.run(db) })
		}
		for round := range 4 {
			db := tenants[round%2]
			if got := count(func() error { return w.run(db) }); got != w.trips {
				t.Errorf("%s: %d round trips, want %d", w.name, got, w.trips)
			}
		}
		if got := count(func() error { return w.run(plain) }); got != w.plain {
			t.Errorf("%s: plain GORM makes %d round trips, the promise says %d", w.name, got, w.plain)
		}
	}
}

// BenchmarkAgainstPlainGORM runs each work in turn by plain GORM on one schema
// and by the plugin, with another tenant each time, and reports the ratio. The
// server is on loopback, so the server's own time shows most.
func BenchmarkAgainstPlainGORM(b *testing.B) {
	benchmark(b, 0)
}

// BenchmarkAgainstPlainGORMWithDelay does the same over a network with a round
// trip of one millisecond.
func BenchmarkAgainstPlainGORMWithDelay(b *testing.B) {
	benchmark(b, time.Millisecond/2)
}

func benchmark(b *testing.B, oneWay time.Duration) {
	dsn := pgtest.Database(b)
	mustExec(b, admin(b, dsn), "create schema tenant_a", "create schema tenant_b")
	if oneWay > 0 {
		dsn = pgproxy.Start(b, dsn, pgproxy.WithDelay(oneWay)).DSN(dsn)
	}
	db, _ := open(b, dsn, nil, plugin.BySchema(), plugin.WithMaxConns(1))
	plain := openPlain(b, dsn, nil)
	b.Cleanup(func() {
		if pool, err := plain.DB(); err != nil || pool.Close() != nil {
			b.Error("can't close the plain pool")
		}
	})
	tenants := []*gorm.DB{db.WithContext(as(b, "a")), db.WithContext(as(b, "b"))}
	plain = plain.WithContext(context.Background())
	for _, db := range append(tenants, plain) {
		if err := db.AutoMigrate(&Note{}); err != nil {
			b.Fatal(err)
		}
		if err := db.Create([]Note{{ID: 1}, {ID: 1000}}).Error; err != nil {
			b.Fatal(err)
		}
		if err := db.Exec("select setval('notes_id_seq', 2000)").Error; err != nil {
			b.Fatal(err)
		}
	}
	for _, w := range works {
		b.Run(w.name, func(b *testing.B) {
			b.ReportAllocs()
			var ours, theirs time.Duration
			timed := func(total *time.Duration, db *gorm.DB) {
				start := time.Now()
				if err := w.run(db); err != nil {
					b.Fatal(err)
				}
				*total += time.Since(start)
			}
			for i := 0; b.Loop(); i++ {
				timed(&theirs, plain)
				timed(&ours, tenants[i%2])
			}
			b.ReportMetric(float64(ours)/float64(theirs), "ratio")
			b.ReportMetric(float64(theirs.Nanoseconds())/float64(b.N), "plain-ns/op")
			b.ReportMetric(float64(ours.Nanoseconds())/float64(b.N), "tenant-ns/op")
		})
	}
}
