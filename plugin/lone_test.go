package plugin_test

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/clause"
	"gorm.io/gorm/logger"
	"gorm.io/gorm/schema"

	"github.com/tenantry/tenantry/internal/pgproxy"
	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
	"github.com/tenantry/tenantry/plugin"
	"github.com/tenantry/tenantry/scope"
)

// cardSchema is what the writes of these tests go to. No text may be "bad", and card 1 can't
// be deleted while it has a page or a cover.
const cardSchema = `create schema tenant_a; set search_path = tenant_a;
create table folders (id bigserial primary key, text text check (text <> 'bad'));
create table cards (id bigserial primary key, text text check (text <> 'bad'), folder_id bigint references folders,
	deleted_at timestamptz, at timestamptz default 'infinity', late text unique deferrable initially deferred);
create table pages (id bigserial primary key, card_id bigint references cards, text text check (text <> 'bad'));
create table covers (id bigserial primary key, card_id bigint references cards, text text check (text <> 'bad'));
create table tags (id bigserial primary key, text text check (text <> 'bad'));
create table card_tags (card_id bigint references cards, tag_id bigint references tags, primary key (card_id, tag_id));
insert into cards (text, late) values ('first', 'late'), ('second', null);
insert into pages (card_id, text) values (1, 'page');
insert into covers (card_id, text) values (1, 'cover');
create table text_keyed (id text primary key default gen_random_uuid(), text text);
create table uuid_keyed (id uuid primary key default gen_random_uuid(), text text);
create table boxes (id text primary key);
create table boxed (id text primary key, box_id text references boxes, text text check (text <> 'bad'));
create table odd (id bigserial primary key, text text, negative bigint default -1, large bigint default 70000,
	fraction numeric default 1.5, huge numeric default '1e400', endless timestamptz default 'infinity');
create table swallowed (id bigserial primary key, text text);
create function remember() returns trigger language plpgsql as
	$$ begin insert into tenant_a.cards (text) values ('remembered'); return null; end $$;
create trigger remember before insert on swallowed for each row execute function remember();
reset search_path`

// cardRows shows all rows of the tables that a write may leave something in.
const cardRows = `select string_agg(line, E'\n' order by line) from (
	select 'card ' || c::text from tenant_a.cards c union all select 'page ' || p::text from tenant_a.pages p union all
	select 'cover ' || v::text from tenant_a.covers v union all select 'folder ' || f::text from tenant_a.folders f union all
	select 'box ' || b::text from tenant_a.boxes b union all
	select 'tag ' || t::text from tenant_a.tags t union all select 'odd ' || o::text from tenant_a.odd o) all_rows (line)`

// cardTables is the tenant of these tables on one connection, whose round trips are counted.
type cardTables struct {
	*gorm.DB
	proxy *pgproxy.Proxy
	admin *pgxpool.Pool
}

func openCards(t *testing.T, cfg *gorm.Config, opts ...plugin.Option) *cardTables {
	t.Helper()
	dsn := pgtest.Database(t)
	pool := admin(t, dsn)
	mustExec(t, pool, cardSchema)
	proxy := pgproxy.Start(t, dsn)
	db, _ := open(t, proxy.DSN(dsn), cfg, plugin.BySchema(), append(opts, plugin.WithMaxConns(1))...)
	c := &cardTables{db.WithContext(as(t, "a")), proxy, pool}
	if err := c.Find(&Card{}).Error; err != nil { // dials
		t.Fatal(err)
	}
	return c
}

// trips returns how many round trips run takes, and its error.
func (c *cardTables) trips(run func(*gorm.DB) error) (int64, error) {
	before := c.proxy.RoundTrips()
	err := run(c.DB)
	return c.proxy.RoundTrips() - before, err
}

func (c *cardTables) rows(t *testing.T) string {
	t.Helper()
	var rows string
	if err := c.admin.QueryRow(context.Background(), cardRows).Scan(&rows); err != nil {
		t.Fatal(err)
	}
	return rows
}

// mustBeLone fails if run takes more than one round trip, or an error.
func (c *cardTables) mustBeLone(t *testing.T, name string, run func(*gorm.DB) error) {
	t.Helper()
	if n, err := c.trips(run); n != 1 || err != nil {
		t.Errorf("%s: %d round trips and error %v, want 1 and none", name, n, err)
	}
}

// mustLeaveNothing fails if run returns no error, or leaves anything of what it wrote, or if
// nothing came behind the statement that it is about.
func (c *cardTables) mustLeaveNothing(t *testing.T, name string, run func(*gorm.DB) error) {
	t.Helper()
	before := c.rows(t)
	n, err := c.trips(run)
	if err == nil || n < 2 {
		t.Errorf("%s: %d round trips and error %v, want a transaction that fails", name, n, err)
	}
	if after := c.rows(t); after != before {
		t.Errorf("%s: returned %v, and left\n%s\nof what was\n%s", name, err, after, before)
	}
}

// cardWrite is a write of GORM's.
type cardWrite struct {
	name string
	run  func(*gorm.DB) error
}

// Card is a model behind whose statement nothing can fail.
type Card struct {
	ID   int64
	Text string
}

func (Card) TableName() string { return "cards" }

// Models with one more thing each.
type (
	Folder struct {
		ID   int64
		Text string
	}
	Page struct {
		ID     int64
		CardID int64
		Text   string
	}
	Cover struct {
		ID     int64
		CardID int64
		Text   string
	}
	Tag struct {
		ID   int64
		Text string
	}
	// owner has an association of each kind.
	owner struct {
		Card
		FolderID *int64
		Folder   *Folder
		Cover    *Cover `gorm:"foreignKey:CardID"`
		Pages    []Page `gorm:"foreignKey:CardID"`
		Tags     []Tag  `gorm:"many2many:card_tags;joinForeignKey:CardID;joinReferences:TagID"`
	}
	softCard struct {
		Card
		DeletedAt gorm.DeletedAt
	}
	intCard struct {
		ID   int
		Text string
	}
	textKeyed struct {
		ID   string `gorm:"default:gen_random_uuid()"`
		Text string
	}
	uuidKeyed struct {
		ID   string `gorm:"type:uuid;default:gen_random_uuid()"`
		Text string
	}
	keyed struct {
		ID   string
		Text string
	}
)

func (intCard) TableName() string   { return "cards" }
func (textKeyed) TableName() string { return "text_keyed" }
func (uuidKeyed) TableName() string { return "uuid_keyed" }
func (keyed) TableName() string     { return "text_keyed" }

// loneWrites are sent by themselves.
var loneWrites = []cardWrite{
	{"Create", func(db *gorm.DB) error { return db.Create(&Card{Text: "x"}).Error }},
	{"Create of an int", func(db *gorm.DB) error { return db.Create(&intCard{Text: "x"}).Error }},
	{"Create with the ID given", func(db *gorm.DB) error { return db.Create(&Card{ID: 900, Text: "x"}).Error }},
	{"Create of a text ID that the database makes", func(db *gorm.DB) error { return db.Create(&textKeyed{Text: "x"}).Error }},
	{"Create of a uuid that the database makes", func(db *gorm.DB) error { return db.Create(&uuidKeyed{Text: "x"}).Error }},
	{"Create where nothing is returned", func(db *gorm.DB) error { return db.Create(&keyed{ID: "k", Text: "x"}).Error }},
	{"Create of several rows", func(db *gorm.DB) error { return db.Create([]Card{{Text: "x"}, {Text: "y"}}).Error }},
	{"Create of several pointers", func(db *gorm.DB) error { return db.Create(&[]*Card{{Text: "x"}, {Text: "y"}}).Error }},
	{"CreateInBatches of one batch", func(db *gorm.DB) error { return db.CreateInBatches([]Card{{Text: "x"}, {Text: "y"}}, 2).Error }},
	{"Create without associations to save", func(db *gorm.DB) error { return db.Create(&owner{Card: Card{Text: "x"}}).Error }},
	{"Create or else update", func(db *gorm.DB) error {
		return db.Clauses(clause.OnConflict{UpdateAll: true}).Create(&Card{ID: 2, Text: "y"}).Error
	}},
	{"Create or else nothing", func(db *gorm.DB) error {
		return db.Clauses(clause.OnConflict{DoNothing: true}).Create(&Card{ID: 2, Text: "z"}).Error
	}},
	{"Create without hooks", func(db *gorm.DB) error {
		return db.Session(&gorm.Session{SkipHooks: true}).Create(&afterCreate{Card{Text: "x"}}).Error
	}},
	{"Create by generics", func(db *gorm.DB) error {
		return gorm.G[Card](db).Create(db.Statement.Context, &Card{Text: "x"})
	}},
	{"Create with prepared statements", func(db *gorm.DB) error {
		return db.Session(&gorm.Session{PrepareStmt: true}).Create(&Card{Text: "x"}).Error
	}},
	{"Save of a new row", func(db *gorm.DB) error { return db.Save(&Card{Text: "x"}).Error }},
	{"Save of an old row", func(db *gorm.DB) error { return db.Save(&Card{ID: 2, Text: "x"}).Error }},
	{"Save of several rows", func(db *gorm.DB) error { return db.Save([]Card{{ID: 2, Text: "x"}, {Text: "y"}}).Error }},
	{"Update", func(db *gorm.DB) error { return db.Model(&Card{ID: 2}).Update("text", "x").Error }},
	{"Update of many rows", func(db *gorm.DB) error { return db.Model(&Card{}).Where("id > 1").Update("text", "x").Error }},
	{"Updates of a struct", func(db *gorm.DB) error { return db.Where("id = ?", 2).Updates(&Card{Text: "x"}).Error }},
	{"Updates of a map", func(db *gorm.DB) error { return db.Model(&Card{ID: 2}).Updates(map[string]any{"text": "x"}).Error }},
	{"Updates of a table", func(db *gorm.DB) error {
		return db.Table("cards").Where("id = ?", 2).Updates(map[string]any{"text": "x"}).Error
	}},
	{"Update without associations to save", func(db *gorm.DB) error { return db.Model(&owner{Card: Card{ID: 2}}).Update("text", "x").Error }},
	{"UpdateColumn", func(db *gorm.DB) error { return db.Model(&afterUpdate{Card{ID: 2}}).UpdateColumn("text", "x").Error }},
	{"Update of what can be deleted softly", func(db *gorm.DB) error { return db.Model(&softCard{Card: Card{ID: 2}}).Update("text", "x").Error }},
	{"Delete", func(db *gorm.DB) error { return db.Delete(&Card{}, 900).Error }},
	{"Delete with associations left alone", func(db *gorm.DB) error { return db.Delete(&owner{Card: Card{ID: 900}}).Error }},
	{"soft Delete", func(db *gorm.DB) error { return db.Delete(&softCard{Card: Card{ID: 2}}).Error }},
	{"Delete of what is deleted softly", func(db *gorm.DB) error { return db.Unscoped().Delete(&softCard{Card: Card{ID: 901}}).Error }},
}

// TestALoneWriteTakesOneRoundTrip counts at the socket. GORM's transaction would take two.
func TestALoneWriteTakesOneRoundTrip(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]*gorm.Config{"plain": {}, "prepared": {PrepareStmt: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := openCards(t, cfg)
			for _, w := range loneWrites {
				c.mustBeLone(t, w.name, w.run)
			}
			before := c.rows(t)
			if n, err := c.trips(func(db *gorm.DB) error { return db.Create([]Card{{Text: "good"}, {Text: "bad"}}).Error }); n != 1 || err == nil || c.rows(t) != before {
				t.Errorf("a write that fails: %d round trips, error %v, and left %s", n, err, c.rows(t))
			}
		})
	}
}

// TestALoneWriteNeedsATenant, as every statement does.
func TestALoneWriteNeedsATenant(t *testing.T) {
	t.Parallel()
	c := openCards(t, nil)
	n, err := c.trips(func(db *gorm.DB) error { return db.WithContext(t.Context()).Create(&Card{Text: "x"}).Error })
	mustBe(t, err, scope.ErrNone)
	if n != 0 {
		t.Errorf("%d round trips", n)
	}
}

var errHook = errors.New("the hook objects")

// Models with one hook each. One before the statement writes a row, which must not stay if
// the statement fails; one behind it fails.
type (
	beforeSave   struct{ Card }
	beforeCreate struct{ Card }
	beforeUpdate struct{ Card }
	beforeDelete struct{ Card }
	afterSave    struct{ Card }
	afterCreate  struct{ Card }
	afterUpdate  struct{ Card }
	afterDelete  struct{ Card }
)

func writeMore(tx *gorm.DB) error { return tx.Create(&Card{Text: "of the hook"}).Error }

func (*beforeSave) BeforeSave(tx *gorm.DB) error     { return writeMore(tx) }
func (*beforeCreate) BeforeCreate(tx *gorm.DB) error { return writeMore(tx) }
func (*beforeUpdate) BeforeUpdate(tx *gorm.DB) error { return writeMore(tx) }
func (*beforeDelete) BeforeDelete(tx *gorm.DB) error { return writeMore(tx) }
func (*afterSave) AfterSave(*gorm.DB) error          { return errHook }
func (*afterCreate) AfterCreate(*gorm.DB) error      { return errHook }
func (*afterUpdate) AfterUpdate(*gorm.DB) error      { return errHook }
func (*afterDelete) AfterDelete(*gorm.DB) error      { return errHook }

// TestHooksKeepTheTransaction by what is left without one.
func TestHooksKeepTheTransaction(t *testing.T) {
	t.Parallel()
	c := openCards(t, nil)
	for _, w := range []cardWrite{
		{"BeforeSave of Create", func(db *gorm.DB) error { return db.Create(&beforeSave{Card{Text: "bad"}}).Error }},
		{"BeforeSave of Update", func(db *gorm.DB) error { return db.Model(&beforeSave{Card{ID: 2}}).Update("text", "bad").Error }},
		{"BeforeCreate", func(db *gorm.DB) error { return db.Create(&beforeCreate{Card{Text: "bad"}}).Error }},
		{"BeforeUpdate", func(db *gorm.DB) error { return db.Model(&beforeUpdate{Card{ID: 2}}).Update("text", "bad").Error }},
		{"BeforeDelete", func(db *gorm.DB) error { return db.Delete(&beforeDelete{Card{ID: 1}}).Error }},
		{"AfterSave of Create", func(db *gorm.DB) error { return db.Create(&afterSave{Card{Text: "x"}}).Error }},
		{"AfterSave of Update", func(db *gorm.DB) error { return db.Model(&afterSave{Card{ID: 2}}).Update("text", "x").Error }},
		{"AfterSave of Save", func(db *gorm.DB) error { return db.Save(&afterSave{Card{ID: 2, Text: "x"}}).Error }},
		{"AfterCreate", func(db *gorm.DB) error { return db.Create(&afterCreate{Card{Text: "x"}}).Error }},
		{"AfterCreate of several", func(db *gorm.DB) error { return db.Create([]afterCreate{{Card{Text: "x"}}, {Card{Text: "y"}}}).Error }},
		{"AfterUpdate", func(db *gorm.DB) error { return db.Model(&afterUpdate{Card{ID: 2}}).Update("text", "x").Error }},
		{"AfterDelete", func(db *gorm.DB) error { return db.Delete(&afterDelete{Card{ID: 2}}).Error }},
	} {
		c.mustLeaveNothing(t, w.name, w.run)
	}
	c.mustBeLone(t, "hooks of another kind", func(db *gorm.DB) error { return db.Create(&afterDelete{Card{Text: "x"}}).Error })
}

// TestAssociationsKeepTheTransaction: one that comes first must not stay if the write fails,
// and the write must not stay if one fails that comes behind it.
func TestAssociationsKeepTheTransaction(t *testing.T) {
	t.Parallel()
	c := openCards(t, nil)
	good, second, pages := Card{Text: "x"}, Card{ID: 2}, []Page{{Text: "bad"}}
	for _, w := range []cardWrite{
		{"belongs to", func(db *gorm.DB) error {
			return db.Create(&owner{Card: Card{Text: "bad"}, Folder: &Folder{Text: "f"}}).Error
		}},
		{"has one", func(db *gorm.DB) error { return db.Create(&owner{Card: good, Cover: &Cover{Text: "bad"}}).Error }},
		{"has many", func(db *gorm.DB) error { return db.Create(&owner{Card: good, Pages: pages}).Error }},
		{"many to many", func(db *gorm.DB) error { return db.Create(&owner{Card: good, Tags: []Tag{{Text: "bad"}}}).Error }},
		{"the second of several", func(db *gorm.DB) error {
			return db.Create([]*owner{{Card: good}, {Card: good, Pages: pages}}).Error
		}},
		{"all saved in full", func(db *gorm.DB) error {
			return db.Session(&gorm.Session{FullSaveAssociations: true}).Updates(&owner{Card: Card{ID: 2, Text: "x"}, Pages: pages}).Error
		}},
		{"of the model of Update", func(db *gorm.DB) error { return db.Model(&owner{Card: second, Pages: pages}).Update("text", "x").Error }},
		{"of several models of Update", func(db *gorm.DB) error {
			return db.Model([]owner{{Card: Card{ID: 1}}, {Card: second, Pages: pages}}).Update("text", "x").Error
		}},
		{"of Updates", func(db *gorm.DB) error {
			return db.Updates(&owner{Card: Card{ID: 2, Text: "x"}, Cover: &Cover{Text: "bad"}}).Error
		}},
		{"of Save", func(db *gorm.DB) error { return db.Save(&owner{Card: Card{ID: 2, Text: "x"}, Pages: pages}).Error }},
		{"in a map, has many", func(db *gorm.DB) error {
			return db.Model(&owner{Card: second}).Updates(map[string]any{"text": "x", "Pages": pages}).Error
		}},
		{"in a map, belongs to", func(db *gorm.DB) error {
			return db.Model(&owner{Card: second}).Updates(map[string]any{"text": "bad", "Folder": &Folder{Text: "f"}}).Error
		}},
		{"deleted with the row", func(db *gorm.DB) error { return db.Select("Pages").Delete(&owner{Card: Card{ID: 1}}).Error }},
	} {
		c.mustLeaveNothing(t, w.name, w.run)
	}
}

// picky can't be scanned.
type picky string

func (*picky) Scan(any) error                { return errors.New("picky") }
func (p picky) Value() (driver.Value, error) { return string(p), nil }

// slug is a string of its own.
type slug string

// Models of which the database returns what GORM can't read.
type (
	negativeOdd struct {
		ID       int64
		Text     string
		Negative uint `gorm:"default:f()"`
	}
	negativeIDOdd struct {
		ID   uint `gorm:"column:negative;primaryKey"`
		Text string
	}
	largeOdd struct {
		ID    int64
		Text  string
		Large int16 `gorm:"default:f()"`
	}
	fractionOdd struct {
		ID       int64
		Text     string
		Fraction int64 `gorm:"type:numeric;default:f()"`
	}
	fractionIntOdd struct {
		ID       int64
		Text     string
		Fraction int `gorm:"type:numeric;default:f()"`
	}
	hugeOdd struct {
		ID   int64
		Text string
		Huge float64 `gorm:"default:f()"`
	}
	endlessOdd struct {
		ID      int64
		Text    string
		Endless time.Time `gorm:"default:f()"`
	}
	largeIDOdd struct {
		ID   int64 `gorm:"column:large;primaryKey"`
		Text string
	}
	smallIDOdd struct {
		ID   int16 `gorm:"column:large;primaryKey"`
		Text string
	}
	pickyOdd struct {
		ID    int64
		Text  string
		Large picky `gorm:"default:f()"`
	}
	slugOdd struct {
		ID    int64
		Text  string
		Large slug `gorm:"default:f()"`
	}
	serializedOdd struct {
		ID   int64
		Text string
		Late string `gorm:"column:endless;serializer:json;default:f()"`
	}
	Inner struct {
		Large int64 `gorm:"default:f()"`
	}
	hidingOdd struct {
		Inner
		ID    int64
		Text  string
		Large int16 // GORM reads what is returned for Inner's into this one
	}
	mappedOdd struct {
		ID      int64
		Text    string
		Endless *time.Time
	}
	swallowed struct {
		ID   int64
		Text string
	}
	writtenCard struct{ Card }
)

// ModifyStatement writes the text in the place of GORM.
func (writtenCard) ModifyStatement(s *gorm.Statement) {
	s.SQL.WriteString("insert into cards (text) values ('x') returning at as id")
}

func (negativeOdd) TableName() string    { return "odd" }
func (negativeIDOdd) TableName() string  { return "odd" }
func (largeOdd) TableName() string       { return "odd" }
func (fractionOdd) TableName() string    { return "odd" }
func (fractionIntOdd) TableName() string { return "odd" }
func (hugeOdd) TableName() string        { return "odd" }
func (endlessOdd) TableName() string     { return "odd" }
func (largeIDOdd) TableName() string     { return "odd" }
func (smallIDOdd) TableName() string     { return "odd" }
func (pickyOdd) TableName() string       { return "odd" }
func (slugOdd) TableName() string        { return "odd" }
func (serializedOdd) TableName() string  { return "odd" }
func (hidingOdd) TableName() string      { return "odd" }
func (mappedOdd) TableName() string      { return "odd" }
func (swallowed) TableName() string      { return "swallowed" }

// panics runs a write that GORM can't read the reply of, and ends the context of the
// transaction that it leaves open.
func panics(run func(*gorm.DB)) func(*gorm.DB) error {
	return func(db *gorm.DB) (err error) {
		ctx, cancel := context.WithCancel(db.Statement.Context)
		defer func() {
			if recover() != nil {
				err = errors.New("panic")
			}
			cancel()
			db.Find(&Card{}) // waits for the connection
		}()
		run(db.WithContext(ctx))
		return nil
	}
}

// endlessCard has a time that can't be scanned.
type endlessCard struct {
	Card
	At *time.Time
}

// TestWhatCanNotBeScannedKeepsTheTransaction: the error comes when the server has executed
// the statement.
func TestWhatCanNotBeScannedKeepsTheTransaction(t *testing.T) {
	t.Parallel()
	c := openCards(t, nil)
	for _, w := range []cardWrite{
		{"an unsigned integer", func(db *gorm.DB) error { return db.Create(&negativeOdd{Text: "x"}).Error }},
		{"an unsigned ID", func(db *gorm.DB) error { return db.Create(&negativeIDOdd{Text: "x"}).Error }},
		{"a small integer", func(db *gorm.DB) error { return db.Create(&largeOdd{Text: "x"}).Error }},
		{"an integer of a numeric column", func(db *gorm.DB) error { return db.Create(&fractionOdd{Text: "x"}).Error }},
		{"an int of a numeric column", func(db *gorm.DB) error { return db.Create(&fractionIntOdd{Text: "x"}).Error }},
		{"a float", func(db *gorm.DB) error { return db.Create(&hugeOdd{Text: "x"}).Error }},
		{"a time", func(db *gorm.DB) error { return db.Create(&endlessOdd{Text: "x"}).Error }},
		{"a Scanner", func(db *gorm.DB) error { return db.Create(&pickyOdd{Text: "x"}).Error }},
		{"a string of a type of its own", func(db *gorm.DB) error { return db.Create(&slugOdd{Text: "x"}).Error }},
		{"a serializer", func(db *gorm.DB) error { return db.Create(&serializedOdd{Text: "x"}).Error }},
		{"a field that hides another", func(db *gorm.DB) error { return db.Omit("large").Create(&hidingOdd{Text: "x"}).Error }},
		{"several rows", func(db *gorm.DB) error { return db.Create([]largeOdd{{Text: "x"}, {Text: "y"}}).Error }},
		{"a map", func(db *gorm.DB) error { return db.Model(&largeOdd{}).Create(map[string]any{"text": "x"}).Error }},
		{"another type than the model's", func(db *gorm.DB) error { return db.Model(&largeIDOdd{}).Create(&smallIDOdd{Text: "x"}).Error }},
		{"a value that can't be written into", panics(func(db *gorm.DB) { db.Create(Card{Text: "x"}) })},
		{"a column that is read into another", func(db *gorm.DB) error {
			return db.MapColumns(map[string]string{"id": "endless"}).Create(&mappedOdd{Text: "x"}).Error
		}},
		{"no row where one must be", func(db *gorm.DB) error {
			tx := db.Set("reused", true)
			tx.Statement.RaiseErrorOnNotFound = true
			return tx.Create(&swallowed{Text: "x"}).Error
		}},
		{"a text that GORM has not made", func(db *gorm.DB) error { return db.Create(&writtenCard{}).Error }},
		{"RETURNING of Create", func(db *gorm.DB) error {
			return db.Omit("At").Clauses(clause.Returning{}).Create(&endlessCard{Card: Card{Text: "x"}}).Error
		}},
		{"RETURNING of Update", func(db *gorm.DB) error {
			return db.Model(&endlessCard{Card: Card{ID: 2}}).Clauses(clause.Returning{}).Update("text", "x").Error
		}},
		{"RETURNING of Delete", func(db *gorm.DB) error {
			return db.Clauses(clause.Returning{}).Delete(&endlessCard{Card: Card{ID: 2}}).Error
		}},
	} {
		c.mustLeaveNothing(t, w.name, w.run)
	}
}

// anything is a row whose column GORM reads into a string.
type anything struct {
	ID    int64
	Value string `gorm:"default:f()"`
}

// TestAStringHoldsEveryValue, and so does not keep the transaction, whatever is in the column
// and in whichever format it comes.
func TestAStringHoldsEveryValue(t *testing.T) {
	t.Parallel()
	c := openCards(t, nil)
	mustExec(t, c.admin, "create type tenant_a.pair as (a int, b int); create type tenant_a.mood as enum ('a')")
	for i, value := range []string{
		"null::text", "true", "'a'::text", "'a'::\"char\"", "'a'::name", "1::int2", "1::int4", "-1::int8", "1::oid", "'1'::xid", "'1'::cid",
		"'NaN'::float4", "'-Infinity'::float8", "'1e400'::numeric", "'NaN'::numeric", "'\\xff00'::bytea", "gen_random_uuid()",
		"'infinity'::timestamptz", "'-infinity'::timestamp", "'infinity'::date", "'4713-01-01 BC'::date", "'294276-12-31'::timestamptz",
		"'24:00'::time", "'24:00+14'::timetz", "'1 year'::interval", "'{}'::json", "'null'::jsonb", "'<a/>'::xml", "array[1,null]",
		"row(1,2)::tenant_a.pair", "'a'::tenant_a.mood", "'127.0.0.1'::inet", "'(1,2)'::point", "int4range(1,2)", "B'1'", "'1'::money",
	} {
		table := fmt.Sprintf("anything_%d", i)
		mustExec(t, c.admin, fmt.Sprintf("create table tenant_a.%[1]s as select %[2]s as value; alter table tenant_a.%[1]s add id bigserial, alter value set default %[2]s", table, value))
		for range 8 { // until the connection keeps the statement
			c.mustBeLone(t, value, func(db *gorm.DB) error { return db.Table(table).Create(&anything{}).Error })
		}
	}
}

// TestOtherCallbacksKeepTheTransaction if they run inside it.
func TestOtherCallbacksKeepTheTransaction(t *testing.T) {
	t.Parallel()
	writes := func(tx *gorm.DB) {
		_ = tx.AddError(tx.Session(&gorm.Session{NewDB: true, SkipHooks: true}).Exec("insert into folders (text) values ('of the callback')").Error)
	}
	objects := func(tx *gorm.DB) { _ = tx.AddError(errHook) }
	create := func(db *gorm.DB) error { return db.Create(&Card{Text: "x"}).Error }
	update := func(db *gorm.DB) error { return db.Model(&Card{ID: 2}).Update("text", "x").Error }
	remove := func(db *gorm.DB) error { return db.Delete(&Card{ID: 2}).Error }
	for name, test := range map[string]struct {
		register func(db *gorm.DB) error
		run      func(db *gorm.DB) error
	}{
		"before gorm:create": {func(db *gorm.DB) error { return db.Callback().Create().Before("gorm:create").Register("x", writes) },
			func(db *gorm.DB) error { return db.Create(&Card{Text: "bad"}).Error }},
		"after gorm:begin_transaction": {func(db *gorm.DB) error {
			return db.Callback().Create().After("gorm:begin_transaction").Before("gorm:before_create").Register("x", writes)
		}, func(db *gorm.DB) error { return db.Create(&Card{Text: "bad"}).Error }},
		"after gorm:create": {func(db *gorm.DB) error {
			return db.Callback().Create().After("gorm:create").Before("gorm:save_after_associations").Register("x", objects)
		}, create},
		"after gorm:update": {func(db *gorm.DB) error {
			return db.Callback().Update().After("gorm:update").Before("gorm:save_after_associations").Register("x", objects)
		}, update},
		"after gorm:delete": {func(db *gorm.DB) error {
			return db.Callback().Delete().After("gorm:delete").Before("gorm:after_delete").Register("x", objects)
		}, remove},
		"before the end": {func(db *gorm.DB) error {
			return db.Callback().Create().Before("gorm:commit_or_rollback_transaction").Register("x", objects)
		}, create},
		"in the place of GORM's, and trusted": {func(db *gorm.DB) error { return db.Callback().Create().Replace("gorm:after_create", objects) }, create},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := openCards(t, nil, plugin.WithTrustedCallback("gorm:after_create"))
			c.mustBeLone(t, "without it", create)
			if err := test.register(c.DB); err != nil {
				t.Fatal(err)
			}
			c.mustLeaveNothing(t, name, test.run)
		})
	}
}

// TestCallbacksOutsideTheTransactionLeaveAWriteAlone: with GORM's transaction, too, what they
// object to has been written.
func TestCallbacksOutsideTheTransactionLeaveAWriteAlone(t *testing.T) {
	t.Parallel()
	c := openCards(t, nil)
	var calls []string
	note := func(name string) func(*gorm.DB) { return func(*gorm.DB) { calls = append(calls, name) } }
	if err := errors.Join(
		c.Callback().Create().Before("*").Register("first", note("first")),
		c.Callback().Create().Before("gorm:begin_transaction").Register("before", note("before")),
		c.Callback().Create().Register("last", note("last")),
	); err != nil {
		t.Fatal(err)
	}
	c.mustBeLone(t, "Create", func(db *gorm.DB) error { return db.Create(&Card{Text: "x"}).Error })
	if len(calls) != 3 {
		t.Errorf("called %q", calls)
	}
}

// TestARemovedCallbackKeepsTheTransaction: nobody knows what stands there instead.
func TestARemovedCallbackKeepsTheTransaction(t *testing.T) {
	t.Parallel()
	c := openCards(t, nil)
	if err := c.Callback().Create().Remove("gorm:save_after_associations"); err != nil {
		t.Fatal(err)
	}
	c.mustLeaveNothing(t, "Create", func(db *gorm.DB) error { return db.Create(&Card{Text: "bad"}).Error })
}

// modifies is a field that has code of its own for each statement: it asks for a column that
// can't be scanned.
type modifies string

func (modifies) CreateClauses(*schema.Field) []clause.Interface { return []clause.Interface{asks{}} }
func (modifies) UpdateClauses(*schema.Field) []clause.Interface { return []clause.Interface{asks{}} }
func (modifies) DeleteClauses(*schema.Field) []clause.Interface { return []clause.Interface{asks{}} }

type asks struct{}

func (asks) Name() string               { return "" }
func (asks) Build(clause.Builder)       {}
func (asks) MergeClause(*clause.Clause) {}
func (asks) ModifyStatement(s *gorm.Statement) {
	s.AddClause(clause.Returning{Columns: []clause.Column{{Name: "at"}}})
}

type modifiedCard struct {
	Card
	Late modifies   `gorm:"-:migration;->"`
	At   *time.Time `gorm:"->"`
}

// TestAFieldWithClausesOfItsOwnKeepsTheTransaction, as they may do anything.
func TestAFieldWithClausesOfItsOwnKeepsTheTransaction(t *testing.T) {
	t.Parallel()
	c := openCards(t, nil)
	for _, w := range []cardWrite{
		{"Create", func(db *gorm.DB) error { return db.Create(&modifiedCard{Card: Card{Text: "x"}}).Error }},
		{"Update", func(db *gorm.DB) error { return db.Model(&modifiedCard{Card: Card{ID: 2}}).Update("text", "x").Error }},
		{"Delete", func(db *gorm.DB) error { return db.Delete(&modifiedCard{Card: Card{ID: 2}}).Error }},
	} {
		c.mustLeaveNothing(t, w.name, w.run)
	}
}

// TestALoneWriteIsNoneInATransaction of the application's.
func TestALoneWriteIsNoneInATransaction(t *testing.T) {
	t.Parallel()
	c := openCards(t, nil)
	for _, w := range []cardWrite{
		{"Transaction", func(db *gorm.DB) error {
			return db.Transaction(func(tx *gorm.DB) error {
				return firstError(tx.Create(&Card{Text: "x"}).Error, tx.Model(&Card{ID: 2}).Update("text", "y").Error, tx.Delete(&Card{ID: 2}).Error, errHook)
			})
		}},
		{"Transaction with prepared statements", func(db *gorm.DB) error {
			return db.Transaction(func(tx *gorm.DB) error {
				return firstError(tx.Session(&gorm.Session{PrepareStmt: true}).Create(&Card{Text: "x"}).Error, errHook)
			})
		}},
		{"batches", func(db *gorm.DB) error { return db.CreateInBatches([]Card{{Text: "x"}, {Text: "bad"}}, 1).Error }},
	} {
		c.mustLeaveNothing(t, w.name, w.run)
	}
	if err := c.Connection(func(tx *gorm.DB) error {
		db := tx.Session(&gorm.Session{})
		c.mustLeaveNothing(t, "a pinned connection", func(*gorm.DB) error { return db.Create(&Card{Text: "bad"}).Error })
		return nil
	}); err != nil {
		t.Error(err)
	}
}

// TestSettingsOfGORMKeepTheTransaction where they are about it.
func TestSettingsOfGORMKeepTheTransaction(t *testing.T) {
	t.Parallel()
	c := openCards(t, &gorm.Config{DefaultTransactionTimeout: time.Minute})
	c.mustLeaveNothing(t, "DefaultTransactionTimeout", func(db *gorm.DB) error { return db.Create(&Card{Text: "bad"}).Error })

	c = openCards(t, nil)
	before := c.rows(t)
	n, err := c.trips(func(db *gorm.DB) error { return db.Session(&gorm.Session{DryRun: true}).Create(&Card{Text: "x"}).Error })
	if n != 0 || err != nil || c.rows(t) != before {
		t.Errorf("a dry run: %d round trips, error %v", n, err)
	}
	mustBe(t, c.Session(&gorm.Session{DryRun: true, Context: t.Context()}).Create(&Card{Text: "x"}).Error, scope.ErrNone)
}

// TestWithoutReturningCreateKeepsTheTransaction: GORM then asks for the last ID, which
// PostgreSQL does not say.
func TestWithoutReturningCreateKeepsTheTransaction(t *testing.T) {
	t.Parallel()
	c := openCards(t, nil)
	db, err := gorm.Open(postgres.New(postgres.Config{DSN: c.proxy.DSN(c.admin.Config().ConnString()), WithoutReturning: true}), &gorm.Config{Logger: logger.Discard})
	if err != nil {
		t.Fatal(err)
	}
	p := plugin.New(plugin.BySchema(), plugin.WithMaxConns(1))
	if err := db.Use(p); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	c.DB = db.WithContext(as(t, "a"))
	c.mustLeaveNothing(t, "Create", func(db *gorm.DB) error { return db.Create(&Card{Text: "x"}).Error })
	c.mustBeLone(t, "Update", func(db *gorm.DB) error { return db.Model(&Card{ID: 2}).Update("text", "x").Error })
}

// Box and Boxed have IDs of their own, so that GORM leaves no RETURNING in their Statement.
type (
	Box struct {
		ID    string
		Boxed []Boxed
	}
	Boxed struct {
		ID    string
		BoxID string
		Text  string
	}
)

func (Boxed) TableName() string { return "boxed" }

// TestALoneWriteLeavesItsSessionAsItWas: the next write of the session may need its
// transaction, and GORM must not look for one that an earlier write of the same Statement had.
func TestALoneWriteLeavesItsSessionAsItWas(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]*gorm.Config{"plain": {}, "prepared": {PrepareStmt: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := openCards(t, cfg)
			ids := 0
			create := func(db *gorm.DB, texts ...string) error {
				ids++
				box := &Box{ID: strconv.Itoa(ids)}
				for _, text := range texts {
					box.Boxed = append(box.Boxed, Boxed{ID: box.ID, Text: text})
				}
				return db.Create(box).Error
			}
			for what, db := range map[string]*gorm.DB{
				"a session":   c.Session(&gorm.Session{}),
				"a Statement": c.Set("same", true), // each call goes on with what the last has left
			} {
				c.DB = db
				for range 2 {
					c.mustBeLone(t, what, func(db *gorm.DB) error { return create(db) })
					if n, err := c.trips(func(db *gorm.DB) error { return create(db, "x") }); n != 3 || err != nil {
						t.Errorf("%s: %d round trips and error %v for a write with an association, want 3", what, n, err)
					}
				}
				c.mustBeLone(t, what, func(db *gorm.DB) error { return create(db) })
				c.mustLeaveNothing(t, what, func(db *gorm.DB) error { return create(db, "bad") })
				if db.SkipDefaultTransaction {
					t.Errorf("%s: the configuration was changed", what)
				}
			}
		})
	}
}

// lateCard has a column that PostgreSQL looks at behind the statement.
type lateCard struct {
	Card
	Late *string
}

// TestALoneWriteReturnsWhatItsCommitFailsWith: a deferred constraint is looked at behind the
// statement, when its rows have been read.
func TestALoneWriteReturnsWhatItsCommitFailsWith(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]*gorm.Config{"plain": {}, "prepared": {PrepareStmt: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := openCards(t, cfg)
			before, late := c.rows(t), "late"
			for range 8 { // until the connection keeps the statement
				for _, w := range []cardWrite{
					{"Create", func(db *gorm.DB) error { return db.Create(&lateCard{Card: Card{Text: "x"}, Late: &late}).Error }},
					{"Create of several", func(db *gorm.DB) error { return db.Create([]lateCard{{Late: &late}, {Late: &late}}).Error }},
					{"Update", func(db *gorm.DB) error { return db.Model(&lateCard{Card: Card{ID: 2}}).Update("late", "late").Error }},
				} {
					n, err := c.trips(w.run)
					var refused *pgconn.PgError
					if !errors.As(err, &refused) || refused.Code != "23505" || n != 1 || c.rows(t) != before {
						t.Errorf("%s: %d round trips, error %v, rows\n%s", w.name, n, err, c.rows(t))
					}
				}
			}
		})
	}
}

// TestAContextThatHasEndedSendsNoLoneWrite.
func TestAContextThatHasEndedSendsNoLoneWrite(t *testing.T) {
	t.Parallel()
	c := openCards(t, nil)
	ctx, cancel := context.WithCancel(as(t, "a"))
	cancel()
	n, err := c.trips(func(db *gorm.DB) error { return db.WithContext(ctx).Create(&Card{Text: "x"}).Error })
	mustBe(t, err, context.Canceled)
	if n != 0 {
		t.Errorf("%d round trips", n)
	}
}

// TestAContextThatEndsCancelsALoneWrite that still waits at the server.
func TestAContextThatEndsCancelsALoneWrite(t *testing.T) {
	t.Parallel()
	c := openCards(t, nil)
	before := c.rows(t)
	lock, err := c.admin.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = lock.Rollback(context.Background()) }()
	if _, err := lock.Exec(t.Context(), "lock table tenant_a.cards in share mode"); err != nil {
		t.Fatal(err)
	}
	waiting := func() (n int) {
		if err := c.admin.QueryRow(t.Context(), "select count(*) from pg_locks where not granted and relation = 'tenant_a.cards'::regclass").Scan(&n); err != nil {
			t.Error(err)
		}
		return n
	}
	ctx, cancel := context.WithCancel(as(t, "a"))
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- c.WithContext(ctx).Create(&Card{Text: "x"}).Error }()
	eventually(t, "the write waits", func() bool { return waiting() == 1 })
	cancel()
	mustBe(t, <-done, context.Canceled)
	eventually(t, "the write is cancelled", func() bool { return waiting() == 0 })
	if err := lock.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if after := c.rows(t); after != before {
		t.Errorf("left\n%s\nof what was\n%s", after, before)
	}
}

// TestWhatGORMRefusesSendsNothing.
func TestWhatGORMRefusesSendsNothing(t *testing.T) {
	t.Parallel()
	c := openCards(t, nil)
	for _, w := range []cardWrite{
		{"Create of nothing", func(db *gorm.DB) error { return db.Create((*owner)(nil)).Error }},
		{"Create of no rows", func(db *gorm.DB) error { return db.Create([]owner{}).Error }},
		{"Create of an empty pointer", func(db *gorm.DB) error { return db.Create([]*owner{nil}).Error }},
		{"Updates of nothing", func(db *gorm.DB) error { return db.Updates((*owner)(nil)).Error }},
		{"Update of an empty model", func(db *gorm.DB) error { return db.Model((*owner)(nil)).Update("id", nil).Error }},
		{"Delete without a condition", func(db *gorm.DB) error { return db.Delete(&owner{}).Error }},
	} {
		if n, err := c.trips(w.run); n != 0 || err == nil {
			t.Errorf("%s: %d round trips, error %v", w.name, n, err)
		}
	}
}
