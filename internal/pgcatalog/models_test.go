package pgcatalog_test

import (
	"time"

	"gorm.io/gorm"
)

// Mood is an enum that each tenant has.
type Mood string

const createTypes = `create type mood as enum ('sad', 'ok', 'happy'); create domain email as varchar(60) not null;
	create domain maybe as numeric(6,1); create domain moment as timestamp(3); create type pair as (a int, b text)`

// Numbers has every kind of number.
type Numbers struct {
	ID       uint
	I8       int8
	I16      int16 `gorm:"not null"`
	I32      int32 `gorm:"default:18"`
	I64      int64 `gorm:"comment:a long one"`
	Int      int
	U8       uint8
	U16      uint16
	U32      uint32
	U64      uint64
	F32      float32
	F64      float64 `gorm:"default:1.5"`
	Fixed    float64 `gorm:"precision:10;scale:2"`
	Whole    float64 `gorm:"precision:8"`
	Numeric  string  `gorm:"type:numeric(10,2);default:0.50"`
	Decimal  string  `gorm:"type:decimal(7,3)"`
	Any      string  `gorm:"type:numeric"`
	Real     float32 `gorm:"type:real"`
	Double   float64 `gorm:"type:double precision"`
	Named4   int     `gorm:"type:int4"`
	Money    string  `gorm:"type:money"`
	Bool     bool    `gorm:"default:true"`
	Not      bool    `gorm:"not null;default:false"`
	Number   int16   `gorm:"autoIncrement"`
	Bits     string  `gorm:"type:bit(4)"`
	Varbits  string  `gorm:"type:varbit(7)"`
	Maybe    float64 `gorm:"type:maybe"`
	Identity int64   `gorm:"generated:identity"`
	Always   int32   `gorm:"generated:identity always"`
	Twice    int32   `gorm:"generated:i32 * 2"`
}

// Texts has every kind of text, and what is sent as text.
type Texts struct {
	ID      string `gorm:"type:uuid;default:gen_random_uuid();primaryKey"`
	Text    string
	Sized   string `gorm:"size:40"`
	Varchar string `gorm:"type:varchar(12);comment:'in quotes'"`
	Unsized string `gorm:"type:varchar"`
	Char    string `gorm:"type:char(3);comment:it's one"`
	Word    string `gorm:"default:new"`
	Quoted  string `gorm:"default:'a ''quoted'' word'"`
	Empty   string `gorm:"default:''"`
	Nothing string `gorm:"default:null"`
	Custom  string `gorm:"default:(-)"`
	Raw     []byte
	Doc     string `gorm:"type:jsonb;default:'{}'"`
	JSON    string `gorm:"type:json"`
	Tags    string `gorm:"type:text[];default:'{}'"`
	Codes   string `gorm:"type:varchar(5)[]"`
	Counts  string `gorm:"type:integer[]"`
	Mood    Mood   `gorm:"type:mood;default:'ok'"`
	Moods   string `gorm:"type:mood[]"`
	Email   string `gorm:"type:email"`
	Pair    string `gorm:"type:pair"`
	Inet    string `gorm:"type:inet"`
	Spaced  string `gorm:"column:two words"`
	Upper   string `gorm:"column:Upper"`
}

// Times has every kind of time.
type Times struct {
	gorm.Model
	At       time.Time
	Exact    time.Time `gorm:"precision:3"`
	Local    time.Time `gorm:"type:timestamp"`
	Local3   time.Time `gorm:"type:timestamp(3)"`
	Zoned    time.Time `gorm:"type:timestamp with time zone"`
	Day      time.Time `gorm:"type:date"`
	Clock    time.Time `gorm:"type:time(3)"`
	Zonal    time.Time `gorm:"type:timetz"`
	Span     string    `gorm:"type:interval"`
	Span2    string    `gorm:"type:interval(2)"`
	Now      time.Time `gorm:"default:now()"`
	Current  time.Time `gorm:"default:CURRENT_TIMESTAMP"`
	Fixed    time.Time `gorm:"default:'2020-01-02 03:04:05+00'"`
	Seen     int64     `gorm:"autoCreateTime:milli"`
	Moment   time.Time `gorm:"type:moment"`
	Optional *time.Time
}

// Address is embedded.
type Address struct {
	Street string `gorm:"index"`
	Zip    string `gorm:"size:10;uniqueIndex:idx_zip_town,priority:2"`
	Town   string `gorm:"uniqueIndex:idx_zip_town,priority:1"`
}

// Author has every kind of index, constraint and relation.
type Author struct {
	ID      int64
	Code    string  `gorm:"unique"`
	Handle  string  `gorm:"uniqueIndex"`
	First   string  `gorm:"index:idx_name,priority:2"`
	Last    string  `gorm:"index:idx_name,priority:1,sort:desc"`
	Age     int     `gorm:"check:age > 3;index:,where:age > 7"`
	Height  int     `gorm:"check:tall,height > 30;index:idx_taller,type:hash"`
	Lower   string  `gorm:"index:idx_lower,expression:lower(lower)"`
	Mixed   string  `gorm:"index:idx_mixed,expression:upper(mixed);index:idx_mixed"`
	Home    Address `gorm:"embedded;embeddedPrefix:home_"`
	Books   []Book
	Profile Profile `gorm:"constraint:OnUpdate:CASCADE,OnDelete:SET NULL"`
	Prizes  []Prize `gorm:"many2many:author_prizes"`
	Ignored string  `gorm:"-"`
	Unmade  string  `gorm:"-:migration"`
}

// Book belongs to an author, and to another by handle.
type Book struct {
	ID           int64
	AuthorID     int64
	Author       *Author
	EditorHandle string
	Editor       *Author `gorm:"foreignKey:EditorHandle;references:Handle"`
}

// Profile is an author's.
type Profile struct {
	ID       int64
	AuthorID *int64 `gorm:"uniqueIndex"`
}

// Prize has a key of two columns.
type Prize struct {
	Name string `gorm:"primaryKey"`
	Year int    `gorm:"primaryKey;autoIncrement:false"`
}

// Thing is in a schema of its own.
type Thing struct {
	ID     int64
	Name   string `gorm:"index;size:20;comment:its name"`
	Amount int    `gorm:"check:other_amount,amount > 0"`
}

// TableName has a schema.
func (Thing) TableName() string { return "other.things" }

// Absent is never made.
type Absent struct {
	ID   int64
	Name string `gorm:"index;unique"`
}

// models are made by AutoMigrate on both sides.
func models() []any {
	return []any{&Numbers{}, &Texts{}, &Times{}, &Author{}, &Book{}, &Profile{}, &Prize{}, &Thing{}}
}

// createRest makes what GORM does not.
const createRest = `
	create view adults as select id, age, handle from authors where age > 18;
	create materialized view ages as select age, count(*) from authors group by age;
	create index idx_ages on ages (age);
	create table parted (id int, at date not null, name varchar(7), primary key (id, at)) partition by range (at);
	create table parted_one partition of parted for values from ('2020-01-01') to ('2021-01-01');
	create index idx_parted on parted (name);
	create table handmade (a int, b int, gone text, c int, d text, unique (a, b), unique (c), exclude using btree (d with =));
	alter table handmade drop column gone;
	create index idx_handmade on handmade (c, b, a) include (d);
	create sequence odd;
	alter table handmade add e int default nextval('odd'), add f int default nextval('odd') not null;
	create table empty ();
	create table other.empty (name varchar(3) unique);
	create table other.handmade (z int, a text, unique (z));
	create table "Odd Name" ("Id" serial primary key);
	create foreign data wrapper nothing;
	create server nowhere foreign data wrapper nothing;
	create foreign table afar (a int constraint afar_check check (a > 0)) server nowhere;
	comment on table handmade is 'by hand'`
