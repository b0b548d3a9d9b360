package plugin_test

import (
	"context"
	"testing"
	"time"

	"gorm.io/gorm"

	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
	"github.com/tenantry/tenantry/plugin"
)

// TestCopyThroughTheClientIsRefused: the server would wait for data that nobody sends,
// and what it sends nobody would get.
func TestCopyThroughTheClientIsRefused(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	mustExec(t, admin(t, dsn), "create schema tenant_a", "create table tenant_a.notes (id int)")
	db, _ := open(t, dsn, &gorm.Config{}, plugin.BySchema())
	ctx, cancel := context.WithTimeout(as(t, "a"), 10*time.Second)
	defer cancel()
	db = db.WithContext(ctx)
	for _, text := range []string{"copy notes from stdin", "/* from */ COPY notes (id)\nFROM STDIN with (format csv)", "copy notes to stdout", "insert into notes values (1); copy notes from stdin"} {
		mustSay(t, db.Exec(text).Error, "COPY", "plugin.WithConn")
		mustSay(t, db.Transaction(func(tx *gorm.DB) error { return tx.Exec(text).Error }), "COPY", "plugin.WithConn")
		mustSay(t, db.Raw(text).Scan(&[]string{}).Error, "COPY", "plugin.WithConn")
	}
	for _, text := range []string{"copy (select 1 as stdin) to program 'cat > /dev/null'", "copy notes from program 'echo 7'"} {
		if err := db.Exec(text).Error; err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
	var ids []int
	if err := db.Raw("select id from notes").Scan(&ids).Error; err != nil || len(ids) != 1 || ids[0] != 7 {
		t.Errorf("got %v, %v", ids, err)
	}
}
