package guard

import (
	"database/sql"
	"reflect"
	"strconv"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"
	"gorm.io/gorm/schema"
)

// lone reports whether the one statement that GORM is about to send is all that its
// transaction would hold. PostgreSQL commits such a statement by itself, in one round trip
// less. Nothing may stand beside it (hooks, associations, callbacks that are not GORM's),
// and nothing may fail behind it, when it is too late to roll back: in doubt it is not lone.
func (g *Guard) lone(c *chain, db *gorm.DB) bool {
	stmt := db.Statement
	if db.Error != nil || db.DryRun || db.DefaultTransactionTimeout > 0 || !g.isPool(stmt.ConnPool) || !c.isGORMs() {
		return false
	}
	if _, returning := stmt.Clauses["RETURNING"]; returning || stmt.SQL.Len() > 0 {
		return false
	}
	s := stmt.Schema
	if s == nil { // a map for a table: no hooks, no associations
		return c.kind != "create"
	}
	switch c.kind {
	case "create":
		hooked := s.BeforeSave || s.BeforeCreate || s.AfterCreate || s.AfterSave
		return (!hooked || stmt.SkipHooks) && areKnown(s.CreateClauses) && returnsSafely(db) && savesAlone(stmt, stmt.ReflectValue)
	case "update":
		hooked := s.BeforeSave || s.BeforeUpdate || s.AfterUpdate || s.AfterSave
		return (!hooked || stmt.SkipHooks) && areKnown(s.UpdateClauses) && updatesAlone(stmt)
	default: // with Select, Delete deletes associations
		hooked := s.BeforeDelete || s.AfterDelete
		return (!hooked || stmt.SkipHooks) && areKnown(s.DeleteClauses) && len(stmt.Selects) == 0
	}
}

// isPool reports whether pool is the plugin's, outside of transactions and pinned connections.
func (g *Guard) isPool(pool gorm.ConnPool) bool {
	for {
		switch p := pool.(type) {
		case *sql.DB:
			return p == g.pool
		case *gorm.PreparedStmtDB: // check has been down to the bottom
			pool = p.ConnPool
		default:
			return false
		}
	}
}

// functionsOf returns what GORM calls for one kind of statement, as it stands at any time.
// It is not valid if this version of GORM keeps it elsewhere.
func functionsOf(processor any) reflect.Value {
	functions := reflect.ValueOf(processor).Elem().FieldByName("fns")
	if functions.IsValid() && functions.Type() == reflect.TypeFor[[]func(*gorm.DB)]() {
		return functions
	}
	return reflect.Value{}
}

// isGORMs reports whether GORM's own callbacks, and no others, run from the beginning of
// the transaction to its end. Callbacks before and behind it can't roll it back anyway.
func (c *chain) isGORMs() bool {
	if !c.functions.IsValid() {
		return false
	}
	next := 0
	for i := 0; i < c.functions.Len() && next < len(c.own); i++ {
		switch code := c.functions.Index(i).Pointer(); {
		case code == c.own[next].code:
			next++
		case next > 0:
			return false
		}
	}
	return next == len(c.own)
}

// areKnown reports whether no field of the model but a gorm.DeletedAt has clauses for the
// statement, whose code may do anything. Those of gorm.DeletedAt add conditions, and make an
// UPDATE of a DELETE.
func areKnown(clauses []clause.Interface) bool {
	for _, c := range clauses {
		switch c.(type) {
		case gorm.SoftDeleteUpdateClause, gorm.SoftDeleteDeleteClause:
		default:
			return false
		}
	}
	return true
}

// returnsSafely reports whether GORM can read all that PostgreSQL may return of an INSERT:
// the columns with defaults.
func returnsSafely(db *gorm.DB) bool {
	stmt := db.Statement
	if d, ok := db.Dialector.(tenantDialector); !ok || d.WithoutReturning { // GORM fails to ask for the last ID
		return false
	}
	if len(stmt.ColumnMapping) > 0 || stmt.RaiseErrorOnNotFound {
		return false
	}
	for _, f := range stmt.Schema.FieldsWithDefaultDBValue {
		if f.Readable && (!holdsAll(f) || stmt.Schema.LookUpField(f.DBName) != f) {
			return false
		}
	}
	return true
}

// holdsAll reports whether f takes every value of its column: a string does, and an integer
// of 64 bits where the model names no other type for the column. Unsigned integers take no
// negative ones, times no infinity, and a Scanner may do anything.
func holdsAll(f *schema.Field) bool {
	if f.Serializer != nil {
		return false
	}
	switch f.FieldType {
	case reflect.TypeFor[int64]():
		return f.DataType == schema.Int
	case reflect.TypeFor[int]():
		return f.DataType == schema.Int && strconv.IntSize == 64
	case reflect.TypeFor[string]():
		return true
	default:
		return false
	}
}

// updatesAlone reports whether an UPDATE comes without associations. GORM takes them from
// the model, into which it puts the values of a map first.
func updatesAlone(stmt *gorm.Statement) bool {
	if !related(stmt.Schema) {
		return true
	}
	if values, ok := stmt.ReflectValue.Interface().(map[string]any); ok {
		for name := range values {
			_, related := stmt.Schema.Relationships.Relations[name]
			if f := stmt.Schema.LookUpField(name); related || f != nil && f.DBName == "" {
				return false
			}
		}
	}
	model := reflect.ValueOf(stmt.Model)
	for model.Kind() == reflect.Pointer {
		model = model.Elem()
	}
	return savesAlone(stmt, model)
}

// savesAlone reports whether v is a record of the model, or a slice of records, that GORM
// can write into, and has no association that GORM would save.
func savesAlone(stmt *gorm.Statement, v reflect.Value) bool {
	switch {
	case v.Kind() == reflect.Slice:
		for i := range v.Len() {
			record := reflect.Indirect(v.Index(i))
			if record.Kind() != reflect.Struct || !savesAlone(stmt, record) {
				return false
			}
		}
		return true
	case v.Kind() != reflect.Struct || v.Type() != stmt.Schema.ModelType || !v.CanAddr():
		return false
	}
	for _, relationships := range relationshipsOf(stmt.Schema) {
		for _, r := range relationships {
			if _, none := r.Field.ValueOf(stmt.Context, v); !none {
				return false
			}
		}
	}
	return true
}

// related reports whether s has associations.
func related(s *schema.Schema) bool {
	for _, relationships := range relationshipsOf(s) {
		if len(relationships) > 0 {
			return true
		}
	}
	return false
}

// relationshipsOf returns the associations that GORM saves with a record.
func relationshipsOf(s *schema.Schema) [4][]*schema.Relationship {
	r := &s.Relationships
	return [...][]*schema.Relationship{r.BelongsTo, r.HasOne, r.HasMany, r.Many2Many}
}
