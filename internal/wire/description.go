package wire

import (
	"bytes"
	"encoding/binary"
)

// Description is what the server has said of a statement. It is not changed any more.
type Description struct {
	Params  []uint32 // types of the parameters
	columns []byte   // RowDescription or NoData
	formats []byte   // the end of a Bind, which asks for these formats; empty if all is text
}

// behindName is how many bytes of a column follow its name in a RowDescription: table,
// attribute, type, length, modifier and format.
const behindName = 4 + 2 + typeLen + 2 + 4 + 2

const typeLen = 4

// describe reads ParameterDescription, and RowDescription or NoData. It returns nil if they are
// cut off.
func describe(params, columns []byte, inBinary func(oid uint32) bool) *Description {
	if len(params) < headerLen+2 || params[0] != parameterDescription {
		return nil
	}
	d := &Description{columns: bytes.Clone(columns)}
	for oids := params[headerLen+2:]; len(oids) >= typeLen; oids = oids[typeLen:] {
		d.Params = append(d.Params, binary.BigEndian.Uint32(oids))
	}
	if columns[0] == rowDescription && !d.choose(inBinary) {
		return nil
	}
	return d
}

// choose chooses the format of each column, and reports whether all of them are there.
func (d *Description) choose(inBinary func(oid uint32) bool) bool {
	if len(d.columns) < headerLen+2 {
		return false
	}
	formats, some := bytes.Clone(d.columns[headerLen:headerLen+2]), false // so many
	rest := d.columns[headerLen+2:]
	for range binary.BigEndian.Uint16(formats) {
		name := bytes.IndexByte(rest, 0)
		if name < 0 || len(rest) < name+1+behindName {
			return false
		}
		column := rest[name+1 : name+1+behindName]
		format := column[behindName-2:]
		if inBinary(binary.BigEndian.Uint32(column[6:])) {
			format[1], some = 1, true
		}
		formats = append(formats, format...)
		rest = rest[name+1+behindName:]
	}
	if some {
		d.formats = formats
	}
	return true
}

// Columns returns how many columns the result has.
func (d *Description) Columns() int {
	if len(d.columns) < headerLen+2 || d.columns[0] != rowDescription {
		return 0
	}
	return int(binary.BigEndian.Uint16(d.columns[headerLen:]))
}
