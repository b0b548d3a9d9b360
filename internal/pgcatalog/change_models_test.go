package pgcatalog_test

import "time"

// change is a table that a model has made, and a model that it is to become. V is
// the column at issue: the primary key's is not changed by GORM.
type change struct {
	name          string
	before, after any
	row           string // what V holds meanwhile
}

type (
	plainInt   struct{ ID, V int64 }
	stringOf20 struct {
		ID int64
		V  string `gorm:"size:20"`
	}
	stringOf40 struct {
		ID int64
		V  string `gorm:"size:40"`
	}
	text struct {
		ID int64
		V  string
	}
	required struct {
		ID int64
		V  string `gorm:"not null"`
	}
	noted struct {
		ID int64
		V  string `gorm:"comment:a note"`
	}
	notedAnew struct {
		ID int64
		V  string `gorm:"comment:it's another"`
	}
	notedQuoted struct {
		ID int64
		V  string `gorm:"comment:'in quotes'"`
	}
	notedKey struct {
		ID int64 `gorm:"comment:the key"`
		V  string
	}
	withDefault struct {
		ID int64
		V  string `gorm:"default:new"`
	}
	otherDefault struct {
		ID int64
		V  string `gorm:"default:old"`
	}
	noDefault struct {
		ID int64
		V  string `gorm:"default:(-)"`
	}
	unique struct {
		ID int64
		V  string `gorm:"unique"`
	}
	indexed struct {
		ID int64
		V  string `gorm:"index"`
	}
	uniqueIndex struct {
		ID int64
		V  string `gorm:"uniqueIndex"`
	}
	checked struct {
		ID int64
		V  string `gorm:"check:v <> 'x'"`
	}
	twoMore struct {
		ID   int64
		V, W string
		X    *time.Time `gorm:"comment:new;index"`
	}
	small struct {
		ID int64
		V  int16
	}
	middle struct {
		ID int64
		V  int32
	}
	middleOne struct {
		ID int64
		V  int32 `gorm:"default:1"`
	}
	middleTwo struct {
		ID int64
		V  int32 `gorm:"default:2;not null"`
	}
	smallSerial struct {
		ID int64 `gorm:"primaryKey"`
		V  int16 `gorm:"autoIncrement"`
	}
	serial struct {
		ID int64 `gorm:"primaryKey"`
		V  int32 `gorm:"autoIncrement"`
	}
	bigSerial struct {
		ID int64 `gorm:"primaryKey"`
		V  int64 `gorm:"autoIncrement"`
	}
	identity struct {
		ID int64
		V  int32 `gorm:"generated:identity"`
	}
	generated struct {
		ID int64
		V  int32 `gorm:"generated:id * 2"`
	}
	boolean struct {
		ID int64
		V  bool
	}
	booleanTrue struct {
		ID int64
		V  bool `gorm:"default:true"`
	}
	booleanFalse struct {
		ID int64
		V  bool `gorm:"default:false"`
	}
	float struct {
		ID int64
		V  float64
	}
	numeric struct {
		ID int64
		V  float64 `gorm:"type:numeric(10,2)"`
	}
	numericMore struct {
		ID int64
		V  float64 `gorm:"type:numeric(12,3)"`
	}
	precise struct {
		ID int64
		V  float64 `gorm:"precision:9;scale:3"`
	}
	char struct {
		ID int64
		V  string `gorm:"type:char(3)"`
	}
	moody struct {
		ID int64
		V  Mood `gorm:"type:mood;default:'ok'"`
	}
	array struct {
		ID int64
		V  string `gorm:"type:text[];default:'{}'"`
	}
	json struct {
		ID int64
		V  string `gorm:"type:json"`
	}
	jsonb struct {
		ID int64
		V  string `gorm:"type:jsonb;default:'{}'"`
	}
	uuid struct {
		ID int64
		V  string `gorm:"type:uuid;default:gen_random_uuid()"`
	}
	bytes struct {
		ID int64
		V  []byte
	}
	at struct {
		ID int64
		V  time.Time
	}
	atMillis struct {
		ID int64
		V  time.Time `gorm:"precision:3"`
	}
	atNow struct {
		ID int64
		V  time.Time `gorm:"default:now()"`
	}
	atLocal struct {
		ID int64
		V  time.Time `gorm:"type:timestamp"`
	}
	day struct {
		ID int64
		V  time.Time `gorm:"type:date"`
	}
	email struct {
		ID int64
		V  string `gorm:"type:email"`
	}
)

func changes() []change {
	return []change{
		{"a string becomes longer", &stringOf20{}, &stringOf40{}, "'a'"},
		{"a string becomes shorter", &stringOf40{}, &stringOf20{}, "'a'"},
		{"a string becomes text", &stringOf20{}, &text{}, "'a'"},
		{"text becomes a string", &text{}, &stringOf20{}, "'a'"},
		{"text becomes required", &text{}, &required{}, "'a'"},
		{"text becomes required and is missing", &text{}, &required{}, "null"},
		{"text becomes optional", &required{}, &text{}, "'a'"},
		{"a comment comes", &text{}, &noted{}, "'a'"},
		{"a comment changes", &noted{}, &notedAnew{}, "'a'"},
		{"a comment goes", &noted{}, &text{}, "'a'"},
		{"a quoted comment", &noted{}, &notedQuoted{}, "'a'"},
		{"a comment on the key", &text{}, &notedKey{}, "'a'"},
		{"a default comes", &text{}, &withDefault{}, "'a'"},
		{"a default changes", &withDefault{}, &otherDefault{}, "'a'"},
		{"a default goes", &withDefault{}, &text{}, "'a'"},
		{"a default is left to the table", &withDefault{}, &noDefault{}, "'a'"},
		{"unique", &text{}, &unique{}, "'a'"},
		{"no longer unique", &unique{}, &text{}, "'a'"},
		{"an index", &text{}, &indexed{}, "'a'"},
		{"a unique index", &indexed{}, &uniqueIndex{}, "'a'"},
		{"a check", &text{}, &checked{}, "'a'"},
		{"a check that fails", &text{}, &checked{}, "'x'"},
		{"columns more", &text{}, &twoMore{}, "'a'"},
		{"columns fewer", &twoMore{}, &text{}, "'a'"},
		{"an integer grows", &small{}, &middle{}, "1"},
		{"an integer grows again", &middle{}, &plainInt{}, "1"},
		{"an integer shrinks", &plainInt{}, &middle{}, "1"},
		{"an integer gets a default", &middle{}, &middleOne{}, "1"},
		{"an integer gets another default", &middleOne{}, &middleTwo{}, "1"},
		{"an integer becomes text", &middle{}, &text{}, "1"},
		{"text becomes an integer", &text{}, &middle{}, "'1'"},
		{"an integer becomes a bool", &middleOne{}, &booleanTrue{}, "1"},
		{"a small integer becomes a bool", &small{}, &boolean{}, "1"},
		{"a big integer becomes a bool", &plainInt{}, &boolean{}, "1"},
		{"a number becomes a bool", &numeric{}, &boolean{}, "1"},
		{"a bool changes its default", &booleanTrue{}, &booleanFalse{}, "true"},
		{"a bool gets a default", &boolean{}, &booleanTrue{}, "true"},
		{"an integer gets a sequence", &middle{}, &serial{}, "1"},
		{"an integer gets a bigger sequence", &middle{}, &bigSerial{}, "1"},
		{"a big integer gets a sequence", &plainInt{}, &bigSerial{}, "1"},
		{"a serial grows", &serial{}, &bigSerial{}, "1"},
		{"a small serial grows", &smallSerial{}, &serial{}, "1"},
		{"a serial shrinks", &bigSerial{}, &serial{}, "1"},
		{"a serial becomes an integer", &serial{}, &middle{}, "1"},
		{"a serial becomes a big integer", &serial{}, &plainInt{}, "1"},
		{"a big serial becomes an integer", &bigSerial{}, &middle{}, "1"},
		{"a serial becomes text", &serial{}, &text{}, "1"},
		{"a serial becomes a bool", &serial{}, &boolean{}, "1"},
		{"a serial gets a default", &bigSerial{}, &middleOne{}, "1"},
		{"an identity becomes an integer", &identity{}, &middle{}, "1"},
		{"an integer becomes an identity", &middle{}, &identity{}, "1"},
		{"a generated column becomes an integer", &generated{}, &middle{}, "default"},
		{"a number gets more digits", &numeric{}, &numericMore{}, "1.25"},
		{"a number is written otherwise", &numeric{}, &precise{}, "1.25"},
		{"a float becomes a number", &float{}, &numeric{}, "1.25"},
		{"an integer becomes a float", &middle{}, &float{}, "1"},
		{"a fixed string", &stringOf20{}, &char{}, "'abc'"},
		{"an enum", &text{}, &moody{}, "'ok'"},
		{"no longer an enum", &moody{}, &text{}, "'ok'"},
		{"an array", &text{}, &array{}, "'{a}'"},
		{"json becomes jsonb", &json{}, &jsonb{}, "'{}'"},
		{"text becomes an id", &text{}, &uuid{}, "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'"},
		{"text becomes bytes", &text{}, &bytes{}, "'a'"},
		{"a time in milliseconds", &at{}, &atMillis{}, "now()"},
		{"a time in microseconds", &atMillis{}, &at{}, "now()"},
		{"a time gets a default", &at{}, &atNow{}, "now()"},
		{"a time loses its zone", &at{}, &atLocal{}, "now()"},
		{"a time becomes a day", &at{}, &day{}, "now()"},
		{"a domain", &text{}, &email{}, "'a'"},
	}
}
