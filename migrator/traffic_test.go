package migrator_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gorm.io/gorm"

	"github.com/tenantry/tenantry/catalog"
	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
	"github.com/tenantry/tenantry/migrator"
	"github.com/tenantry/tenantry/plugin"
	"github.com/tenantry/tenantry/scope"
)

// rollout makes the tables, and then changes them ten times: what the application
// calls a title becomes a name.
var rollout = migrator.Migrations{
	text("0000", `create table invoices (id bigserial primary key, owner text not null, title text not null, paper text);
		create table notes (id bigserial primary key, owner text not null, invoice_id bigint not null, scratch int)`),
	text("0001", "alter table invoices add column due date"),
	text("0002", "update invoices set due = current_date"),
	text("0003", "alter table invoices add column paid boolean not null default false"),
	text("0004", `alter table invoices add column name text, alter column title drop not null;
		create function both_names() returns trigger language plpgsql as $$ begin
			if tg_op = 'INSERT' then
				new.name := coalesce(new.name, new.title);
				new.title := new.name;
			elsif new.title is distinct from old.title then
				new.name := new.title;
			else
				new.title := new.name;
			end if;
			return new;
		end $$;
		create trigger both_names before insert or update on invoices for each row execute function both_names()`),
	text("0005", "update invoices set name = title where name is null"),
	// From here on, nobody uses the title any more.
	text("0006", "alter table invoices alter column name set not null"),
	text("0007", "drop trigger both_names on invoices; drop function both_names(); alter table invoices drop column title"),
	text("0008", "alter table invoices drop column paper; alter table notes drop column scratch"),
	migrator.NoTransaction(text("0009", "create index concurrently if not exists invoices_name on invoices (name)")),
	text("0010", "alter table notes add column kind text not null default 'note', add check (kind <> '')"),
}

// expanded is the migration up to which the old program works, and from which on the
// new one does.
const expanded = "0005"

// oldInvoice and newInvoice are what two versions of a program know.
type (
	oldInvoice struct {
		ID           int64
		Owner, Title string
	}
	newInvoice struct {
		ID          int64
		Owner, Name string
	}
	note struct {
		ID        int64
		Owner     string
		InvoiceID int64
	}
)

func (oldInvoice) TableName() string { return "invoices" }
func (newInvoice) TableName() string { return "invoices" }

func (i oldInvoice) owner() string { return i.Owner }
func (i newInvoice) owner() string { return i.Owner }
func (i oldInvoice) id() int64     { return i.ID }
func (i newInvoice) id() int64     { return i.ID }
func (oldInvoice) label() string   { return "title" }
func (newInvoice) label() string   { return "name" }

func (oldInvoice) of(owner string) oldInvoice { return oldInvoice{Owner: owner, Title: owner} }
func (newInvoice) of(owner string) newInvoice { return newInvoice{Owner: owner, Name: owner} }

// invoice is what requests do with either version.
type invoice[I any] interface {
	owner() string
	id() int64
	label() string
	of(owner string) I
}

// request is one kind of request; owner is the tenant's id, which each of its rows
// has.
type request func(db *gorm.DB, owner string) error

// requests are those of one version of the program.
func requests[I invoice[I]]() map[string]request {
	return map[string]request{
		"find":           find[I],
		"first":          first[I],
		"select * as it": selectAll,
		"create":         create[I],
		"update":         update[I],
		"transaction":    inTransaction[I],
		"other way":      theOtherWay[I],
		"repeatable":     repeatable[I],
	}
}

// find reads by SELECT * into a model.
func find[I invoice[I]](db *gorm.DB, owner string) error {
	var rows []I
	if err := db.Order("id").Limit(20).Find(&rows).Error; err != nil {
		return err
	}
	return checkRows(rows, owner)
}

// first reads columns by their names.
func first[I invoice[I]](db *gorm.DB, owner string) error {
	var row I
	if err := db.Select("id", "owner", row.label()).First(&row).Error; err != nil {
		return err
	}
	return checkRows([]I{row}, owner)
}

func checkRows[I invoice[I]](rows []I, owner string) error {
	if len(rows) == 0 {
		return errors.New("no rows")
	}
	for _, r := range rows {
		if r.owner() != owner {
			return fmt.Errorf("a row of %q", r.owner())
		}
	}
	return nil
}

// selectAll reads whatever columns there are, twice by the same text.
func selectAll(db *gorm.DB, owner string) error {
	for range 2 {
		var rows []map[string]any
		if err := db.Raw("select * from invoices order by id desc limit ?", 20).Scan(&rows).Error; err != nil {
			return err
		}
		for _, r := range rows {
			if r["owner"] != owner {
				return fmt.Errorf("a row of %q", r["owner"])
			}
		}
		if len(rows) == 0 {
			return errors.New("no rows")
		}
	}
	return nil
}

func create[I invoice[I]](db *gorm.DB, owner string) error {
	var row I
	row = row.of(owner)
	return db.Create(&row).Error
}

func update[I invoice[I]](db *gorm.DB, owner string) error {
	var row I
	result := db.Model(&row).Where("id = ?", 1+rand.N(5)).Update(row.label(), owner)
	if result.Error == nil && result.RowsAffected != 1 {
		return fmt.Errorf("%d rows were updated", result.RowsAffected)
	}
	return result.Error
}

// inTransaction reads, writes to both tables, and reads again.
func inTransaction[I invoice[I]](db *gorm.DB, owner string) error {
	return db.Transaction(func(tx *gorm.DB) error {
		if err := selectAll(tx, owner); err != nil {
			return err
		}
		var none I
		row := none.of(owner)
		if err := tx.Create(&row).Error; err != nil {
			return err
		}
		if err := tx.Create(&note{Owner: owner, InvoiceID: row.id()}).Error; err != nil {
			return err
		}
		var notes []note
		if err := tx.Order("id desc").Limit(5).Find(&notes).Error; err != nil {
			return err
		}
		for _, n := range notes {
			if n.Owner != owner {
				return fmt.Errorf("a note of %q", n.Owner)
			}
		}
		return find[I](tx, owner)
	})
}

// theOtherWay locks tables in another order than migrations do: the deadlock must
// not be the request's.
func theOtherWay[I invoice[I]](db *gorm.DB, owner string) error {
	return db.Transaction(func(tx *gorm.DB) error {
		if err := tx.Create(&note{Owner: owner, InvoiceID: 1}).Error; err != nil {
			return err
		}
		return find[I](tx, owner)
	})
}

// repeatable counts the rows twice in one snapshot.
func repeatable[I invoice[I]](db *gorm.DB, owner string) error {
	return db.Transaction(func(tx *gorm.DB) error {
		var before, after int64
		var none I
		err := errors.Join(tx.Model(&none).Count(&before).Error, selectAll(tx, owner), tx.Model(&none).Count(&after).Error)
		if err == nil && before != after {
			err = fmt.Errorf("%d rows and then %d", before, after)
		}
		return err
	}, &sql.TxOptions{Isolation: sql.LevelRepeatableRead})
}

// traffic is requests to all tenants, several at a time, until stop is called.
type traffic struct {
	db      *gorm.DB
	tenants migrator.List
	kinds   map[string]request
	ended   atomic.Bool
	served  atomic.Int64
	slowest atomic.Int64 // in nanoseconds
	wg      sync.WaitGroup
}

func drive(t *testing.T, db *gorm.DB, tenants migrator.List, kinds map[string]request) *traffic {
	t.Helper()
	tr := &traffic{db: db, tenants: tenants, kinds: kinds}
	for range 6 {
		tr.wg.Go(func() {
			for !tr.ended.Load() {
				for name, r := range tr.kinds { // in any order
					tr.serve(t, name, r, tr.tenants[rand.N(len(tr.tenants))])
				}
			}
		})
	}
	t.Cleanup(tr.stop)
	return tr
}

func (tr *traffic) serve(t *testing.T, name string, r request, tenant scope.Tenant) {
	t.Helper()
	start := time.Now()
	if err := r(tr.db.WithContext(scope.With(context.Background(), tenant)), tenant.String()); err != nil {
		t.Errorf("%q of %s: %v", name, tenant, err)
		tr.ended.Store(true)
	}
	tr.served.Add(1)
	took := int64(time.Since(start))
	for before := tr.slowest.Load(); took > before && !tr.slowest.CompareAndSwap(before, took); before = tr.slowest.Load() {
	}
}

// stop waits until the last request is through.
func (tr *traffic) stop() {
	tr.ended.Store(true)
	tr.wg.Wait()
}

// during counts the requests while f works.
func (tr *traffic) during(f func()) int64 {
	before := tr.served.Load()
	f()
	return tr.served.Load() - before
}

// TestRequestsGoOnDuringARollout: two versions of a program serve requests of all
// tenants while migrations add, rename and drop what they use. None fails, and none
// sees another tenant's rows.
func TestRequestsGoOnDuringARollout(t *testing.T) {
	t.Parallel()
	t.Run("by schema", func(t *testing.T) {
		t.Parallel()
		dsn := pgtest.Database(t)
		list := many(t, 30)
		db := open(t, dsn, plugin.BySchema())
		if _, err := migrator.New(db, list, rollout[:1]).Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		rollOut(t, db, open(t, dsn, plugin.BySchema()), list)
	})
	t.Run("by a catalog with roles", func(t *testing.T) {
		t.Parallel()
		dsn := pgtest.Database(t)
		c, list := withRoles(t, dsn, 15)
		rollOut(t, open(t, dsn, c.Strategy()), open(t, dsn, c.Strategy()), list)
	})
}

// withRoles makes a catalog and tenants, each of which has a role of its own.
func withRoles(t *testing.T, dsn string, n int) (*catalog.Catalog, migrator.List) {
	t.Helper()
	c, err := catalog.Open(t.Context(), dsn, catalog.WithRoles(), catalog.WithMigrations(rollout[:1]))
	if err != nil {
		t.Fatal(err)
	}
	var list migrator.List
	t.Cleanup(func() {
		for _, id := range list { // roles are the whole server's
			if err := c.Drop(context.Background(), id, id.String()); err != nil {
				t.Error(err)
			}
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	prefix := fmt.Sprintf("traffic%08x", rand.Uint32())
	for i := range n {
		tenant, err := c.Create(t.Context(), catalog.New{ID: fmt.Sprintf("%s-%02d", prefix, i), Kind: catalog.OwnSchema})
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, tenant.ID)
	}
	return c, list
}

// rollOut migrates the fleet in two runs, with traffic on db: of the old program,
// then of both, then of the new one. The runs have connections of their own.
func rollOut(t *testing.T, db, runs *gorm.DB, list migrator.List) {
	t.Helper()
	for _, tenant := range list {
		for range 5 {
			row := oldInvoice{}.of(tenant.String())
			if err := db.WithContext(scope.With(t.Context(), tenant)).Create(&row).Error; err != nil {
				t.Fatal(err)
			}
		}
	}
	m := migrator.New(runs, list, rollout)
	run := func(opts ...migrator.RunOption) func() {
		return func() {
			if _, err := m.Run(t.Context(), opts...); err != nil {
				t.Error(err)
			}
		}
	}
	old := drive(t, db, list, requests[oldInvoice]())
	expanding := old.during(run(migrator.To(expanded)))
	renewed := drive(t, db, list, requests[newInvoice]())
	await(t, "both programs work on the same tables", func() bool { return renewed.served.Load() > 50 || renewed.ended.Load() })
	old.stop()
	contracting := renewed.during(run())
	renewed.stop()

	t.Logf("%d requests while it expanded and %d while it contracted, the slowest took %s and %s",
		expanding, contracting, time.Duration(old.slowest.Load()), time.Duration(renewed.slowest.Load()))
	if expanding < 50 || contracting < 50 {
		t.Error("too few requests: the test proves little")
	}
	checkAllCurrent(t, m, len(list))
}
