package plugin_test

import (
	"testing"
	"time"

	"gorm.io/gorm"

	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
	"github.com/tenantry/tenantry/plugin"
)

// BenchmarkSQLComment runs each work in turn without and with the comment, of another
// tenant each time, and reports the ratio.
func BenchmarkSQLComment(b *testing.B) {
	dsn := pgtest.Database(b)
	mustExec(b, admin(b, dsn), "create schema tenant_a", "create schema tenant_b")
	without := commentedTenants(b, dsn)
	with := commentedTenants(b, dsn, plugin.WithSQLComment())
	for _, db := range without {
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
			var spent [2]time.Duration
			for i := 0; b.Loop(); i++ {
				for side, tenants := range [][]*gorm.DB{without, with} {
					start := time.Now()
					if err := w.run(tenants[i%2]); err != nil {
						b.Fatal(err)
					}
					spent[side] += time.Since(start)
				}
			}
			b.ReportMetric(float64(spent[1])/float64(spent[0]), "ratio")
		})
	}
}

// commentedTenants returns the tenants a and b of a plugin with one connection.
func commentedTenants(b *testing.B, dsn string, opts ...plugin.Option) []*gorm.DB {
	b.Helper()
	db, _ := open(b, dsn, nil, plugin.BySchema(), append(opts, plugin.WithMaxConns(1))...)
	return []*gorm.DB{db.WithContext(as(b, "a")), db.WithContext(as(b, "b"))}
}
