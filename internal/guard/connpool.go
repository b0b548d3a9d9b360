package guard

import (
	"database/sql"
	"errors"
	"reflect"

	"gorm.io/gorm"
)

// Seal makes a gorm.ConnPool that embeds it a wrapper of another one: the guard looks at
// the pool below, to which the wrapper must send what it is given, and nowhere else. The
// pool below is out of the reach of other packages.
type Seal struct{ pool gorm.ConnPool }

// Sealed returns the seal of a wrapper of pool.
func Sealed(pool gorm.ConnPool) Seal { return Seal{pool} }

func (s Seal) underlying() gorm.ConnPool { return s.pool }

// wrapper is a gorm.ConnPool that embeds a Seal.
type wrapper interface{ underlying() gorm.ConnPool }

// maxWrappers bounds how many pools may stand around a pool of database/sql.
const maxWrappers = 8

// Where a transaction and a connection of database/sql keep their pool, for which they
// have no method. GORM's own DB method reads the same field.
var (
	poolOfTx   = poolField(reflect.TypeFor[sql.Tx]())
	poolOfConn = poolField(reflect.TypeFor[sql.Conn]())
)

// poolField returns the index of the field in which t keeps its pool, -1 if there is none.
func poolField(t reflect.Type) int {
	f, ok := t.FieldByName("db")
	if !ok || len(f.Index) != 1 || f.Type != reflect.TypeFor[*sql.DB]() {
		return -1
	}
	return f.Index[0]
}

// checkDatabaseSQL returns an error if no transaction and no connection says whose it is.
func checkDatabaseSQL() error {
	if poolOfTx < 0 || poolOfConn < 0 {
		return errors.New("plugin: in this version of Go a transaction of database/sql does not say which pool it is from: use a version that the README lists")
	}
	return nil
}

// ownerOf returns the pool of database/sql to which pool sends statements, nil if that is
// unknown.
func ownerOf(pool gorm.ConnPool) *sql.DB {
	for range maxWrappers {
		switch p := pool.(type) {
		case *sql.DB:
			return p
		case *sql.Tx:
			return read(reflect.ValueOf(p), poolOfTx)
		case *sql.Conn:
			return read(reflect.ValueOf(p), poolOfConn)
		case *gorm.PreparedStmtDB:
			if p == nil {
				return nil
			}
			pool = p.ConnPool
		case *gorm.PreparedStmtTX:
			// GORM takes DB and Connection from the second of its pools.
			if p == nil || p.PreparedStmtDB == nil || ownerOf(p.Tx) != ownerOf(p.PreparedStmtDB.ConnPool) {
				return nil
			}
			pool = p.Tx
		case wrapper:
			pool = p.underlying()
		default:
			return nil
		}
	}
	return nil
}

// read returns the pool in the field of the struct to which v points.
func read(v reflect.Value, field int) *sql.DB {
	if v.IsNil() || field < 0 {
		return nil
	}
	return (*sql.DB)(v.Elem().Field(field).UnsafePointer())
}

// transactionOf returns the transaction of database/sql to which pool sends statements, nil if
// there is none.
func transactionOf(pool gorm.ConnPool) *sql.Tx {
	for range maxWrappers {
		switch p := pool.(type) {
		case *sql.Tx:
			return p
		case *gorm.PreparedStmtTX:
			pool = p.Tx
		case wrapper:
			pool = p.underlying()
		default:
			return nil
		}
	}
	return nil
}
