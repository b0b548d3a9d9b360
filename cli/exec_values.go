package cli

import (
	"encoding/json"

	"github.com/jackc/pgx/v5/pgtype"
)

// textValue writes a value for people, as PostgreSQL does.
func textValue(v []byte) string {
	if v == nil {
		return "(null)"
	}
	return string(v)
}

// jsonValue returns a value for JSON: numbers, booleans and JSON as what they
// are, anything else as PostgreSQL's text. Digits are kept, however many.
func jsonValue(oid uint32, v []byte) any {
	if v == nil {
		return nil
	}
	switch oid {
	case pgtype.BoolOID:
		return string(v) == "t"
	case pgtype.Int2OID, pgtype.Int4OID, pgtype.Int8OID, pgtype.OIDOID, pgtype.Float4OID, pgtype.Float8OID, pgtype.NumericOID:
		if json.Valid(v) { // NaN and Infinity are not
			return json.Number(v)
		}
	case pgtype.JSONOID, pgtype.JSONBOID:
		if json.Valid(v) {
			return json.RawMessage(v)
		}
	}
	return string(v)
}
