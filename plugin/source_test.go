package plugin_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/tenantry/tenantry/plugin"
)

// TestUseNeverShowsTheConnectionString that it can't parse: pgx's redaction misses some
// spellings of passwords. The pool's own parameters are the plugin's to read, GORM takes
// them for the server's.
func TestUseNeverShowsTheConnectionString(t *testing.T) {
	t.Parallel()
	for _, dsn := range []string{"host=127.0.0.1 password = s3cret pool_max_conns=none", "postgres://u:s3cret@127.0.0.1/x?pool_max_conns=none", "host=127.0.0.1 password='s3cret and more' pool_max_conns=none"} {
		db, err := gorm.Open(postgres.Open(dsn), &gorm.Config{Logger: logger.Discard, DisableAutomaticPing: true})
		if err != nil {
			t.Fatal(err)
		}
		err = db.Use(plugin.New(plugin.BySchema()))
		mustSay(t, err, "plugin: ", "connection string")
		var parse *pgconn.ParseConfigError
		if errors.As(err, &parse) || err != nil && (strings.Contains(err.Error(), "s3cret") || strings.Contains(err.Error(), "and more")) {
			t.Errorf("%s: got error %v", dsn, err)
		}
		if pool, err := db.DB(); err != nil || pool.Close() != nil {
			t.Error(err)
		}
	}
}
