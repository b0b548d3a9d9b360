package plugin_test

import (
	"testing"

	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
	"github.com/tenantry/tenantry/plugin"
)

// Memo has its columns in the order in which they are scanned.
type Memo struct {
	ID   int64
	Text string
}

func TestARowThatCanNotBeScannedShowsNothingOfAnotherTenant(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	mustExec(t, admin(t, dsn),
		"create schema tenant_a", "create table tenant_a.memos (id bigint, text text)", "insert into tenant_a.memos values (1, 'secret of a')",
		"create schema tenant_b", "create table tenant_b.memos (id text, text text)", "insert into tenant_b.memos values ('not a number', 'of b')")
	db, _ := open(t, dsn, nil, plugin.BySchema())
	for range 200 { // GORM's values for scanning come from a pool, which may be empty
		var of []Memo
		if err := db.WithContext(as(t, "a")).Find(&of).Error; err != nil || len(of) != 1 {
			t.Fatalf("a: got %v, %v", of, err)
		}
		memos, memo := []Memo{}, Memo{}
		many := db.WithContext(as(t, "b")).Find(&memos)
		one := db.WithContext(as(t, "b")).Limit(1).Find(&memo)
		if many.Error == nil || one.Error == nil {
			t.Fatal("b's row was scanned")
		}
		if len(memos) > 0 || memo != (Memo{}) || many.RowsAffected+one.RowsAffected > 0 {
			t.Fatalf("b was shown %v and %v", memos, memo)
		}
	}
}
