package doctor_test

import (
	"database/sql"
	"testing"

	"gorm.io/gorm"

	"github.com/tenantry/tenantry/doctor"
	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
	"github.com/tenantry/tenantry/plugin"
)

// plain is a service without a catalog.
func plain(t *testing.T, opts ...plugin.Option) *system {
	t.Helper()
	s := on(t, pgtest.DSN(t))
	s.plant(t, "alter role "+s.login+" nocreaterole")
	s.open(t, s.dsn, plugin.BySchema(), opts...)
	return s
}

func TestACallbackThatChoosesAnotherPoolIsAProblem(t *testing.T) {
	t.Parallel()
	s := plain(t)
	other, err := sql.Open("pgx", s.dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if err := s.db.Callback().Raw().Before("*").Register("elsewhere", func(tx *gorm.DB) { tx.Statement.ConnPool = other }); err != nil {
		t.Fatal(err)
	}
	mustSay(t, s.mustFind(t, []string{"foreign-pool"}), doctor.Problem, "another pool", "Statement.ConnPool")
	if n := other.Stats().OpenConnections; n != 0 {
		t.Errorf("the doctor has opened %d connections of it", n)
	}
}

func TestAResolverIsAProblem(t *testing.T) {
	t.Parallel()
	s := plain(t)
	if err := s.db.Callback().Query().Before("*").Register("gorm:db_resolver", func(*gorm.DB) {}); err != nil {
		t.Fatal(err)
	}
	mustSay(t, s.mustFind(t, []string{"foreign-pool"}), doctor.Problem, "dbresolver", "second *gorm.DB")
}

func TestAReplacedCallbackIsAProblem(t *testing.T) {
	t.Parallel()
	s := plain(t)
	if err := s.db.Callback().Query().Replace("gorm:query", func(*gorm.DB) {}); err != nil {
		t.Fatal(err)
	}
	mustSay(t, s.mustFind(t, []string{"replaced-callback"}), doctor.Problem, "gorm:query by", "WithTrustedCallback")
}

func TestATrustedCallbackIsAFact(t *testing.T) {
	t.Parallel()
	s := plain(t, plugin.WithTrustedCallback("gorm:query"), plugin.WithTrustedCallback("gorm:query"))
	if err := s.db.Callback().Query().Replace("gorm:query", func(*gorm.DB) {}); err != nil {
		t.Fatal(err)
	}
	mustSay(t, s.mustFind(t, []string{"trusted-callback"}), doctor.Info, "callback gorm:query:", "scope.Key")
}
