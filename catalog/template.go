package catalog

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"gorm.io/gorm"

	"github.com/tenantry/tenantry/internal/driver"
	"github.com/tenantry/tenantry/internal/pgerr"
)

// A template is a database, one for each server, that holds what the migrations
// make. Copying it takes a fraction of the time of running them. Its name tells
// the migrations by their fingerprint: when they change, the next tenant with a
// database of its own makes another template.

// templateAge is how long a template of other migrations is kept: while a new
// version rolls out, processes of the old one still sign tenants up.
const templateAge = 24 * time.Hour

// draftSuffix marks a template that isn't complete.
const draftSuffix = "_new"

// templatePause is how long databases are made without a template that could not
// be made.
const templatePause = time.Minute

// templates remembers on which servers a template could not be made.
type templates struct {
	mu     sync.Mutex           // guards failed
	failed map[string]time.Time // until when that counts
}

func (t *templates) hasFailed(name string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return time.Now().Before(t.failed[name])
}

func (t *templates) fail(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.failed == nil {
		t.failed = map[string]time.Time{}
	}
	t.failed[name] = time.Now().Add(templatePause)
}

// createDatabase makes the tenant's database, from the template if there is one.
// db is a session on the tenant's server.
func (c *Catalog) createDatabase(ctx context.Context, db *gorm.DB, row *tenantRow) error {
	create := "create database " + object{aDatabase, row.Database}.quoted()
	template := c.template(ctx, db, row)
	if template != "" {
		err := db.Exec(create + " template " + object{aDatabase, template}.quoted()).Error
		switch {
		case err == nil || pgerr.Is(err, pgerr.DuplicateDatabase): // an earlier try was cut off, but the server went on
			return nil
		case ctx.Err() != nil:
			return err
		}
		c.logger.Warn("catalog: a template database could not be copied, migrations run instead",
			slog.String("server", row.ServerName), slog.String("template", template), slog.Any("error", err))
	}
	if err := db.Exec(create).Error; err != nil && !pgerr.Is(err, pgerr.DuplicateDatabase) {
		return err
	}
	return nil
}

// template returns the name of the template database on the server of row, made
// if need be, or "" if there is none.
func (c *Catalog) template(ctx context.Context, db *gorm.DB, row *tenantRow) string {
	if c.migrations == nil || c.noTemplates {
		return ""
	}
	hash := sha256.Sum256([]byte(c.migrations.Fingerprint()))
	name := c.templatePrefix() + hex.EncodeToString(hash[:6])
	key := row.ServerName + "/" + name
	if c.blanks.hasFailed(key) {
		return ""
	}
	if err := c.ensureTemplate(ctx, db, row, name); err != nil {
		if ctx.Err() == nil {
			c.blanks.fail(key)
		}
		level := slog.LevelWarn
		if row.spare { // which says so itself if it can't be made either
			level = slog.LevelDebug
		}
		c.logger.Log(ctx, level, "catalog: a template database could not be made, migrations run for each tenant instead",
			slog.String("server", row.ServerName), slog.Any("error", err))
		return ""
	}
	return name
}

func (c *Catalog) templatePrefix() string { return "tenantry_" + c.identity + "_" }

// ensureTemplate makes the template unless it is there. A lock on the server
// lets one session at a time make it.
func (c *Catalog) ensureTemplate(ctx context.Context, db *gorm.DB, row *tenantRow, name string) error {
	template := object{aDatabase, name}
	if found, err := template.intact(db); err != nil || found {
		return err
	}
	key := fmt.Sprintf("(pg_catalog.hashtextextended('%s', 0))", name)
	if err := run(db, "select pg_catalog.pg_advisory_lock"+key); err != nil {
		return err
	}
	defer func() { _ = run(db, "select pg_catalog.pg_advisory_unlock"+key) }() // the session's end unlocks, too
	if found, err := template.intact(db); err != nil || found {
		return err
	}
	if err := dropTemplate(db, template); err != nil { // half dropped
		return err
	}
	start := time.Now()
	if err := c.makeTemplate(ctx, db, row, template); err != nil {
		return err
	}
	c.logger.Debug("catalog: made a template database", slog.String("server", row.ServerName), slog.String("template", name), slog.Duration("took", time.Since(start)))
	return c.dropTemplates(db, name, templateAge)
}

// makeTemplate gives the template its name last: what bears the name is complete.
func (c *Catalog) makeTemplate(ctx context.Context, db *gorm.DB, row *tenantRow, template object) error {
	draft := object{aDatabase, template.name + draftSuffix}
	if err := dropTemplate(db, draft); err != nil {
		return err
	}
	if err := run(db, "create database "+draft.quoted()); err != nil {
		return err
	}
	err := draft.put(db, "tenantry "+c.identity+" template "+time.Now().UTC().Format(time.RFC3339))
	if err == nil {
		err = c.fillTemplate(ctx, row, draft.name)
	}
	if err != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoLimit)
		defer cancel()
		return errors.Join(err, dropTemplate(db.WithContext(ctx), draft))
	}
	return run(db,
		"alter database "+draft.quoted()+" with is_template true allow_connections false",
		"alter database "+draft.quoted()+" rename to "+template.quoted())
}

// fillTemplate runs the migrations without a tenant. The caller has the template's lock.
func (c *Catalog) fillTemplate(ctx context.Context, row *tenantRow, database string) error {
	return c.migrate(ctx, newPlace{
		server: row, database: database, schemas: []string{"public"},
		scope: driver.Scope{Place: fmt.Sprintf("template %q", database)},
	})
}

// dropTemplates drops this catalog's templates of other migrations that are at
// least so old.
func (c *Catalog) dropTemplates(db *gorm.DB, except string, age time.Duration) error {
	var names []string
	err := db.Raw("select datname from pg_catalog.pg_database where pg_catalog.starts_with(datname, ?) and datname <> ?", c.templatePrefix(), except).Scan(&names).Error
	if err != nil {
		return err
	}
	for _, name := range names {
		old, least := object{aDatabase, name}, age
		if strings.HasSuffix(name, draftSuffix) { // somebody may be at work on a young one
			least = max(age, templateAge)
		}
		if !c.outdated(db, old, least) {
			continue
		}
		if err := dropTemplate(db, old); err != nil {
			return err
		}
	}
	return nil
}

// dropTemplate drops a template or a draft of one, if it is there. One of which a
// drop was cut off can't be altered any more.
func dropTemplate(db *gorm.DB, template object) error {
	var isTemplate []bool
	err := db.Raw("select datistemplate from pg_catalog.pg_database where datname = ?", template.name).Scan(&isTemplate).Error
	if err != nil || len(isTemplate) == 0 {
		return err
	}
	if isTemplate[0] {
		if err := run(db, "alter database "+template.quoted()+" with is_template false"); err != nil {
			return err
		}
	}
	return run(db, "drop database if exists "+template.quoted()+" with (force)")
}

// outdated reports whether the mark of a template says that it is so old.
func (c *Catalog) outdated(db *gorm.DB, template object, age time.Duration) bool {
	mark, _, err := template.find(db)
	made, ours := strings.CutPrefix(mark, "tenantry "+c.identity+" template ")
	at, notTime := time.Parse(time.RFC3339, made)
	return err == nil && ours && notTime == nil && time.Since(at) >= age
}

// dropLastTemplate drops the templates on the server of a tenant that is gone if
// no tenant and no spare with a database of its own is left there: with the last of them
// everything goes that was made for them. A sign-up at the same time does without
// a template.
func (c *Catalog) dropLastTemplate(ctx context.Context, row *tenantRow) error {
	var left int64
	err := c.db.WithContext(ctx).Raw(`select (select count(*) from tenantry.tenants where server = @server and kind = 'database')
		+ (select count(*) from tenantry.spares where server = @server and kind = 'database')`, sql.Named("server", row.ServerName)).Scan(&left).Error
	if err != nil || left > 0 {
		return err
	}
	return c.atServer(ctx, row, func(db *gorm.DB) error { return c.dropTemplates(db, "", 0) })
}
