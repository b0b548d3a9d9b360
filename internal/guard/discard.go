package guard

import "gorm.io/gorm"

// discardRows empties what a query was to fill when it has failed midway. GORM
// scans into values that it keeps for the whole process and never clears: the
// row at which scanning failed would show what an earlier query, of another
// tenant, has left in them.
func discardRows(tx *gorm.DB) {
	if tx.Error == nil || tx.RowsAffected == 0 {
		return
	}
	if v := tx.Statement.ReflectValue; v.IsValid() && v.CanSet() {
		v.SetZero()
	}
	tx.RowsAffected = 0
}

// registerDiscard puts discardRows in front of whatever looks at the rows.
func registerDiscard(db *gorm.DB) error {
	return db.Callback().Query().After("gorm:query").Before("gorm:preload").Register("tenantry:discard", discardRows)
}
