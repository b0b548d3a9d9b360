package plugin_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/tenantry/tenantry/internal/guard"
	"github.com/tenantry/tenantry/internal/pgproxy"
	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
	"github.com/tenantry/tenantry/plugin"
	"github.com/tenantry/tenantry/scope"
)

// foreignPool is a pool past the plugin, on which tables of the tenants' names stand in
// public, and that shows whether anything was sent.
type foreignPool struct {
	*sql.DB
	proxy *pgproxy.Proxy
	sent  int64
}

func openForeign(t *testing.T, dsn string) *foreignPool {
	t.Helper()
	mustExec(t, admin(t, dsn), `create table public.invoices (id bigserial primary key, title text, cents bigint)`, `insert into public.invoices (title) values ('public')`,
		`create table public.lines (id bigserial primary key, invoice_id bigint, text text)`, `create table public.labels (id bigserial primary key, name text)`,
		`create table public.invoice_labels (invoice_id bigint, label_id bigint)`)
	proxy := pgproxy.Start(t, dsn)
	pool, err := sql.Open("pgx", proxy.DSN(dsn))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := pool.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := pool.PingContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	return &foreignPool{pool, proxy, proxy.BytesToServer()}
}

// mustBeUntouched fails if a byte has reached the server.
func (f *foreignPool) mustBeUntouched(t *testing.T, what string) {
	t.Helper()
	if n := f.proxy.BytesToServer(); n != f.sent {
		t.Errorf("%s: %d bytes have reached the foreign pool", what, n-f.sent)
		f.sent = n
	}
}

// registrar is what both a processor and a callback of GORM have.
type registrar interface {
	Register(name string, f func(*gorm.DB)) error
}

// everywhere registers f in each chain, at the place that at returns.
func everywhere(db *gorm.DB, name string, f func(*gorm.DB), before bool) error {
	c := db.Callback()
	chains := []registrar{c.Create().Before("*"), c.Query().Before("*"), c.Update().Before("*"), c.Delete().Before("*"), c.Row().Before("*"), c.Raw().Before("*")}
	if before {
		chains = []registrar{c.Create().Before("gorm:create"), c.Query().Before("gorm:query"), c.Update().Before("gorm:update"),
			c.Delete().Before("gorm:delete"), c.Row().Before("gorm:row"), c.Raw().Before("gorm:raw")}
	}
	var err error
	for _, c := range chains {
		err = errors.Join(err, c.Register(name, f))
	}
	return err
}

// gormPools are the ways to give GORM its pool.
var gormPools = map[string]func(t *testing.T, dsn string) gorm.Dialector{
	"a connection string": func(_ *testing.T, dsn string) gorm.Dialector { return postgres.Open(dsn) },
	"a ready-made pool": func(t *testing.T, dsn string) gorm.Dialector {
		t.Helper()
		pool, err := sql.Open("pgx", dsn)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = pool.Close() })
		return postgres.New(postgres.Config{Conn: pool})
	},
}

// TestACallbackThatChoosesAnotherPoolIsRefused goes through every entry point with a
// callback that passes by the plugin, as a resolver of replicas would.
func TestACallbackThatChoosesAnotherPoolIsRefused(t *testing.T) {
	t.Parallel()
	for given, dialector := range gormPools {
		for name, cfg := range configurations() {
			for _, first := range []bool{true, false} {
				for _, before := range []bool{true, false} {
					t.Run(fmt.Sprintf("%s, %s, registered first %t, right before GORM's %t", given, name, first, before), func(t *testing.T) {
						t.Parallel()
						_, _, dsn := twoTenants(t, nil)
						foreign := openForeign(t, dsn)
						db, err := gorm.Open(dialector(t, dsn), &gorm.Config{Logger: logger.Discard, PrepareStmt: cfg.PrepareStmt, SkipDefaultTransaction: cfg.SkipDefaultTransaction})
						if err != nil {
							t.Fatal(err)
						}
						evil := func(tx *gorm.DB) {
							if !tx.DryRun {
								tx.Statement.ConnPool = foreign.DB
							}
						}
						p := plugin.New(plugin.BySchema())
						steps := []func() error{func() error { return everywhere(db, "evil", evil, before) }, func() error { return db.Use(p) }}
						if !first {
							slices.Reverse(steps)
						}
						if err := errors.Join(steps[0](), steps[1]()); err != nil {
							t.Fatal(err)
						}
						t.Cleanup(func() { _ = p.Close() })
						for _, ctx := range []context.Context{as(t, "a"), t.Context(), scope.Shared(t.Context())} {
							refuseEntryPoints(ctx, t, db, foreign)
						}
					})
				}
			}
		}
	}
}

func refuseEntryPoints(ctx context.Context, t *testing.T, db *gorm.DB, foreign *foreignPool) {
	t.Helper()
	for _, e := range slices.Concat(readers(), writers(), transactions()) {
		if e.name == "WithConn" { // calls no callback
			continue
		}
		seen, err := e.run(ctx, db)
		if !errors.Is(err, plugin.ErrForeignPool) && !errors.Is(err, scope.ErrNone) {
			t.Errorf("%s: got %q and error %v, want ErrForeignPool", e.name, seen, err)
		}
		if slices.Contains(seen, "public") {
			t.Errorf("%s: has seen a row of the foreign pool", e.name)
		}
		foreign.mustBeUntouched(t, e.name)
		pool, err := db.DB()
		if err != nil {
			t.Fatal(err)
		}
		if n := pool.Stats().InUse; n != 0 {
			t.Errorf("%s: %d connections are still in use", e.name, n)
		}
	}
}

// TestAPoolInTheSession: no callback, but code that sets the pool itself.
func TestAPoolInTheSession(t *testing.T) {
	t.Parallel()
	db, _, dsn := twoTenants(t, nil)
	foreign := openForeign(t, dsn)
	tx, err := foreign.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := foreign.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	foreign.sent = foreign.proxy.BytesToServer()
	ours, err := db.DB()
	if err != nil {
		t.Fatal(err)
	}
	ownTx, err := ours.BeginTx(as(t, "a"), nil)
	if err != nil {
		t.Fatal(err)
	}
	prepared := func(pool gorm.ConnPool) *gorm.PreparedStmtDB { return gorm.NewPreparedStmtDB(pool, 10, 0) }
	for name, test := range map[string]struct {
		pool gorm.ConnPool
		want error
	}{
		"a foreign pool":        {foreign.DB, plugin.ErrForeignPool},
		"its transaction":       {tx, plugin.ErrForeignPool},
		"its connection":        {conn, plugin.ErrForeignPool},
		"its prepared":          {prepared(foreign.DB), plugin.ErrForeignPool},
		"its prepared in a tx":  {&gorm.PreparedStmtTX{Tx: tx, PreparedStmtDB: prepared(foreign.DB)}, plugin.ErrForeignPool},
		"prepared by both":      {&gorm.PreparedStmtTX{Tx: ownTx, PreparedStmtDB: prepared(foreign.DB)}, plugin.ErrForeignPool},
		"wrapped":               {wrap(foreign.DB), plugin.ErrForeignPool},
		"ours in unknown hands": {unknown{ours}, plugin.ErrForeignPool},
		"a loop":                {endless(), plugin.ErrForeignPool},
		"nothing":               {nil, plugin.ErrForeignPool},
		"no transaction":        {(*sql.Tx)(nil), plugin.ErrForeignPool},
		"ours":                  {ours, nil},
		"ours wrapped":          {wrap(ours), nil},
		"our transaction":       {ownTx, nil},
		"ours prepared":         {prepared(ours), nil},
		"ours prepared twice":   {prepared(prepared(ours)), nil},
	} {
		session := db.WithContext(as(t, "a"))
		session.Statement.ConnPool = test.pool
		var rows []Invoice
		mustBeError(t, name, session.Find(&rows).Error, test.want)
		if test.want != nil && len(rows) > 0 || test.want == nil && (len(rows) != 1 || rows[0].Title != "a") {
			t.Errorf("%s: read %v", name, titles(rows))
		}
		var s string
		mustBeError(t, name+", Row", session.Raw("select title from invoices").Row().Scan(&s), test.want)
		mustBeError(t, name+", Count", session.Model(&Invoice{}).Count(new(int64)).Error, test.want)
		if test.want != nil {
			mustBeError(t, name+", WithConn", plugin.WithConn(session, func(*pgx.Conn) error { return nil }), test.want)
			mustBeError(t, name+", Create", session.Create(&Invoice{Title: "new"}).Error, test.want)
			dry := session.Session(&gorm.Session{DryRun: true})
			mustBeError(t, name+", a dry Find", dry.Find(&rows).Error, nil)
			mustBeError(t, name+", a dry Create", dry.Create(&Invoice{Title: "new"}).Error, nil)
		}
		foreign.mustBeUntouched(t, name)
	}
	if err := errors.Join(ownTx.Rollback(), tx.Rollback(), conn.Close()); err != nil {
		t.Error(err)
	}
}

func mustBeError(t *testing.T, name string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: got error %v, want %v", name, err, want)
	}
}

// wrapper leads to the pool in it, as the migrator's do.
type wrapper struct {
	*sql.DB
	guard.Seal
}

func wrap(pool *sql.DB) wrapper { return wrapper{pool, guard.Sealed(pool)} }

// unknown may send statements anywhere.
type unknown struct{ *sql.DB }

// loop never leads anywhere.
type loop struct {
	gorm.ConnPool
	guard.Seal
}

func endless() *loop {
	l := &loop{}
	l.Seal = guard.Sealed(l)
	return l
}

// TestARefusedWriteEndsItsTransaction: the callback comes after BEGIN.
func TestARefusedWriteEndsItsTransaction(t *testing.T) {
	t.Parallel()
	db, _, dsn := twoTenants(t, nil)
	foreign := openForeign(t, dsn)
	on := false
	if err := db.Callback().Create().Before("gorm:create").Register("evil", func(tx *gorm.DB) {
		if on {
			tx.Statement.ConnPool = foreign.DB
		}
	}); err != nil {
		t.Fatal(err)
	}
	db = db.WithContext(as(t, "a"))
	on = true
	mustBe(t, db.Create(&Invoice{Title: "refused"}).Error, plugin.ErrForeignPool)
	foreign.mustBeUntouched(t, "Create")
	pool, err := db.DB()
	if err != nil {
		t.Fatal(err)
	}
	if n := pool.Stats().InUse; n != 0 {
		t.Errorf("%d connections are in use", n)
	}
	on = false
	if err := db.Create(&Invoice{Title: "passes"}).Error; err != nil {
		t.Error(err)
	}
}

// TestASessionOlderThanThePluginKeepsItsPool, which is the user's own.
func TestASessionOlderThanThePluginKeepsItsPool(t *testing.T) {
	t.Parallel()
	_, _, dsn := twoTenants(t, nil)
	foreign := openForeign(t, dsn)
	for _, prepare := range []bool{false, true} {
		db, err := gorm.Open(postgres.New(postgres.Config{Conn: foreign.DB}), &gorm.Config{Logger: logger.Discard})
		if err != nil {
			t.Fatal(err)
		}
		old := db.Session(&gorm.Session{PrepareStmt: prepare, Context: t.Context()})
		p := plugin.New(plugin.BySchema())
		if err := db.Use(p); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = p.Close() })
		var rows []Invoice
		err = old.Transaction(func(tx *gorm.DB) error { return tx.Find(&rows).Error })
		if err != nil || len(rows) != 1 || rows[0].Title != "public" {
			t.Errorf("PrepareStmt %t: the older session reads %v, error %v", prepare, titles(rows), err)
		}
		session := db.WithContext(as(t, "a"))
		session.Statement.ConnPool = foreign.DB // the same pool, in a session that is not older
		mustBe(t, session.Find(&rows).Error, plugin.ErrForeignPool)
	}
}

// cache answers queries by their text, for every tenant alike.
type cache struct {
	next    func(*gorm.DB)
	answers map[string][]Invoice
}

func (c *cache) query(db *gorm.DB) {
	dest, ok := db.Statement.Dest.(*[]Invoice)
	if rows, hit := c.answers["invoices"]; ok && hit {
		*dest = rows
		return
	}
	c.next(db)
	if ok && db.Error == nil {
		c.answers["invoices"] = *dest
	}
}

func (c *cache) register(db *gorm.DB) error {
	c.next, c.answers = db.Callback().Query().Get("gorm:query"), map[string][]Invoice{}
	return db.Callback().Query().Replace("gorm:query", c.query)
}

func TestAReplacedCallbackIsRefused(t *testing.T) {
	t.Parallel()
	db, _, dsn := twoTenants(t, nil)
	var before []Invoice
	if err := db.WithContext(as(t, "a")).Find(&before).Error; err != nil {
		t.Fatal(err)
	}
	c := &cache{}
	if err := c.register(db); err != nil {
		t.Fatal(err)
	}
	c.answers["invoices"] = before // it doesn't even look at the error
	for _, ctx := range []context.Context{as(t, "a"), as(t, "b"), t.Context()} {
		var rows []Invoice
		err := db.WithContext(ctx).Find(&rows).Error
		mustBe(t, err, plugin.ErrReplacedCallback)
		mustSay(t, err, "gorm:query", "cache", "WithTrustedCallback")
		if rows != nil {
			t.Errorf("read %v from the cache", titles(rows))
		}
		if err := db.WithContext(ctx).Session(&gorm.Session{DryRun: true}).Find(&rows).Error; !errors.Is(err, plugin.ErrReplacedCallback) || rows != nil {
			t.Errorf("a dry run reads %v, error %v", titles(rows), err)
		}
	}

	plain := openPlain(t, dsn, nil)
	if err := (&cache{}).register(plain); err != nil {
		t.Fatal(err)
	}
	err := plain.Use(plugin.New(plugin.BySchema()))
	mustBe(t, err, plugin.ErrReplacedCallback)
	mustSay(t, err, "gorm:query", "cache", "WithTrustedCallback")
	if pool, err := plain.DB(); err != nil || pool.Close() != nil {
		t.Error("the *gorm.DB has lost its pool")
	}
}

// TestEachOfGORMsCallbacksIsGuarded replaces, registers again, or removes them one by one.
func TestEachOfGORMsCallbacksIsGuarded(t *testing.T) {
	t.Parallel()
	_, _, dsn := twoTenants(t, nil)
	silent := func(*gorm.DB) {}
	tests := []struct {
		callback string
		change   func(db *gorm.DB) error
		run      func(db *gorm.DB) error
	}{
		{"gorm:create", func(db *gorm.DB) error { return db.Callback().Create().Replace("gorm:create", silent) }, create},
		{"gorm:create", func(db *gorm.DB) error { return db.Callback().Create().Register("gorm:create", silent) }, create},
		{"gorm:create", func(db *gorm.DB) error { return db.Callback().Create().Remove("gorm:create") }, create},
		{"gorm:begin_transaction", func(db *gorm.DB) error { return db.Callback().Create().Replace("gorm:begin_transaction", silent) }, create},
		{"gorm:commit_or_rollback_transaction", func(db *gorm.DB) error {
			return db.Callback().Create().Replace("gorm:commit_or_rollback_transaction", silent)
		}, create},
		{"gorm:save_after_associations", func(db *gorm.DB) error {
			return db.Callback().Create().Replace("gorm:save_after_associations", silent)
		}, create},
		{"gorm:query", func(db *gorm.DB) error { return db.Callback().Query().Register("gorm:query", silent) }, find},
		{"gorm:query", func(db *gorm.DB) error { return db.Callback().Query().Remove("gorm:query") }, find},
		{"gorm:preload", func(db *gorm.DB) error { return db.Callback().Query().Replace("gorm:preload", silent) }, find},
		{"gorm:update", func(db *gorm.DB) error { return db.Callback().Update().Replace("gorm:update", silent) }, func(db *gorm.DB) error {
			return db.Model(&Invoice{ID: 1}).Update("cents", 1).Error
		}},
		{"gorm:delete", func(db *gorm.DB) error { return db.Callback().Delete().Replace("gorm:delete", silent) }, func(db *gorm.DB) error {
			return db.Delete(&Line{}, 1).Error
		}},
		{"gorm:row", func(db *gorm.DB) error { return db.Callback().Row().Replace("gorm:row", silent) }, func(db *gorm.DB) error {
			var n int
			return db.Raw("select 1").Row().Scan(&n)
		}},
		{"gorm:row", func(db *gorm.DB) error { return db.Callback().Row().Replace("gorm:row", silent) }, func(db *gorm.DB) error {
			rows, err := db.Raw("select 1").Rows()
			if rows != nil {
				return errors.Join(err, rows.Err(), rows.Close())
			}
			return err
		}},
		{"gorm:raw", func(db *gorm.DB) error { return db.Callback().Raw().Replace("gorm:raw", silent) }, func(db *gorm.DB) error {
			return db.Exec("select 1").Error
		}},
	}
	for _, test := range tests {
		late, _ := open(t, dsn, nil, plugin.BySchema())
		if err := test.change(late); err != nil {
			t.Fatal(err)
		}
		err := test.run(late.WithContext(as(t, "a")))
		if !errors.Is(err, plugin.ErrReplacedCallback) || !strings.Contains(err.Error(), test.callback) {
			t.Errorf("%s after the plugin: got error %v", test.callback, err)
		}

		early := openPlain(t, dsn, nil)
		if err := test.change(early); err != nil {
			t.Fatal(err)
		}
		err = early.Use(plugin.New(plugin.BySchema()))
		if !errors.Is(err, plugin.ErrReplacedCallback) || !strings.Contains(err.Error(), test.callback) {
			t.Errorf("%s before the plugin: got error %v", test.callback, err)
		}
		if pool, err := early.DB(); err != nil || pool.Close() != nil {
			t.Error("the *gorm.DB has lost its pool")
		}

		for _, first := range []bool{true, false} {
			db := openPlain(t, dsn, nil)
			p := plugin.New(plugin.BySchema(), plugin.WithTrustedCallback(test.callback))
			steps := []func() error{func() error { return test.change(db) }, func() error { return db.Use(p) }}
			if !first {
				slices.Reverse(steps)
			}
			if err := errors.Join(steps[0](), steps[1]()); err != nil {
				t.Errorf("%s, trusted: %v", test.callback, err)
			}
			t.Cleanup(func() { _ = p.Close() })
		}
	}
}

func create(db *gorm.DB) error { return db.Create(&Label{Name: "new"}).Error }

func find(db *gorm.DB) error { return db.Find(&[]Label{}).Error }

// TestATrustedCallbackRuns, and what it sends is still looked at.
func TestATrustedCallbackRuns(t *testing.T) {
	t.Parallel()
	_, _, dsn := twoTenants(t, nil)
	foreign := openForeign(t, dsn)
	for _, first := range []bool{true, false} {
		db := openPlain(t, dsn, nil)
		p := plugin.New(plugin.BySchema(), plugin.WithTrustedCallback("gorm:query"))
		called := 0
		replace := func() error {
			next := db.Callback().Query().Get("gorm:query")
			return db.Callback().Query().Replace("gorm:query", func(tx *gorm.DB) { called++; next(tx) })
		}
		steps := []func() error{replace, func() error { return db.Use(p) }}
		if !first {
			slices.Reverse(steps)
		}
		if err := errors.Join(steps[0](), steps[1]()); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = p.Close() })
		var rows []Invoice
		if err := db.WithContext(as(t, "b")).Find(&rows).Error; err != nil || len(rows) != 1 || rows[0].Title != "b" || called != 1 {
			t.Errorf("b reads %v, error %v, with %d calls", titles(rows), err, called)
		}
		mustBe(t, db.WithContext(t.Context()).Find(&rows).Error, scope.ErrNone)
		session := db.WithContext(as(t, "a"))
		session.Statement.ConnPool = foreign.DB
		mustBe(t, session.Find(&rows).Error, plugin.ErrForeignPool)
		foreign.mustBeUntouched(t, "a trusted callback")
	}
}

func TestTrustedCallbacksAreGORMsOwn(t *testing.T) {
	t.Parallel()
	db := openPlain(t, pgtest.Database(t), nil)
	mustSay(t, db.Use(plugin.New(plugin.BySchema(), plugin.WithTrustedCallback("gorm:quary"))), "WithTrustedCallback", "gorm:quary")
	if pool, err := db.DB(); err != nil || pool.Close() != nil {
		t.Error("the *gorm.DB has lost its pool")
	}
}

// TestCallbacksAroundGORMsPass in any order, as those of tracing plugins.
func TestCallbacksAroundGORMsPass(t *testing.T) {
	t.Parallel()
	for _, first := range []bool{true, false} {
		_, _, dsn := twoTenants(t, nil)
		db := openPlain(t, dsn, nil)
		called := 0
		count := func(*gorm.DB) { called++ }
		around := func() error {
			c := db.Callback()
			return errors.Join(everywhere(db, "first", count, false), everywhere(db, "before", count, true), c.Query().After("gorm:query").Register("after", count),
				c.Query().After("*").Register("last", count), c.Query().Register("anywhere", count), c.Create().After("gorm:begin_transaction").Before("gorm:create").Register("between", count))
		}
		p := plugin.New(plugin.BySchema())
		steps := []func() error{around, func() error { return db.Use(p) }}
		if !first {
			slices.Reverse(steps)
		}
		if err := errors.Join(steps[0](), steps[1]()); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = p.Close() })
		for _, e := range slices.Concat(readers(), writers(), transactions()) {
			seen, err := e.run(as(t, "a"), db)
			if err != nil {
				t.Errorf("%s: %v", e.name, err)
			}
			mustBeOwn(t, e.name, "a", seen)
		}
		if called == 0 {
			t.Error("no callback was called")
		}
	}
}

// TestTheGuardAllocatesNothing compares what GORM does to build a statement.
func TestTheGuardAllocatesNothing(t *testing.T) {
	db, _, dsn := twoTenants(t, nil)
	plain := openPlain(t, dsn, nil)
	measure := func(db *gorm.DB) float64 {
		dry := db.Session(&gorm.Session{DryRun: true, Context: as(t, "a")})
		return testing.AllocsPerRun(200, func() {
			var rows []Invoice
			if err := dry.Find(&rows).Error; err != nil {
				t.Fatal(err)
			}
		})
	}
	if with, without := measure(db), measure(plain); with != without {
		t.Errorf("%v allocations with the plugin, %v without", with, without)
	}
	if err := db.WithContext(as(t, "a")).Transaction(func(tx *gorm.DB) error {
		if with, without := measure(tx), measure(plain); with != without {
			t.Errorf("%v allocations in a transaction with the plugin, %v without", with, without)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	if pool, err := plain.DB(); err != nil || pool.Close() != nil {
		t.Error("can't close the pool")
	}
}

// TestAReplicaHasAPluginOfItsOwn is what docs/strategies.md says to do instead.
func TestAReplicaHasAPluginOfItsOwn(t *testing.T) {
	t.Parallel()
	_, _, replicaDSN := twoTenants(t, nil)
	ctx := as(t, "b")
	replica, err := gorm.Open(postgres.Open(replicaDSN), &gorm.Config{})
	if err != nil {
		t.Fatal(err)
	}
	err = replica.Use(plugin.New(plugin.BySchema())) // a strategy of its own, with the same options
	if err != nil {
		t.Fatal(err)
	}
	var invoices []Invoice
	err = replica.WithContext(ctx).Find(&invoices).Error // the same tenant, on the replica
	if err != nil || len(invoices) != 1 || invoices[0].Title != "b" {
		t.Errorf("b reads %v, error %v", titles(invoices), err)
	}
	if pool, err := replica.DB(); err != nil || pool.Close() != nil {
		t.Error("can't close the pool")
	}
}
