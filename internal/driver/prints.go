package driver

import (
	"database/sql/driver"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgtype"
)

// prints reports whether a value of the type prints exactly text, in a session of the time zone,
// which is nil if it is not known. A statement that a session keeps has the types that its
// parameters had when it got its name, also after a migration has given a column another type:
// if the text is what the old type prints, the new one gets from it what it would get from the text.
// It errs on the side of false, and for types that are not listed.
func prints(oid uint32, text string, zone *time.Location) bool {
	switch oid {
	case pgtype.TextOID, pgtype.VarcharOID, pgtype.BPCharOID: // spaces at the end mean less to bpchar than to others
		return !strings.HasSuffix(text, " ")
	case pgtype.JSONOID:
		return true
	case pgtype.Int2OID:
		return printsInt(text, 16)
	case pgtype.Int4OID:
		return printsInt(text, 32)
	case pgtype.Int8OID:
		return printsInt(text, 64)
	case pgtype.OIDOID:
		return text[:min(1, len(text))] != "-" && printsInt(text, 32) // int4 makes negative numbers of larger ones
	case pgtype.NumericOID:
		_, ok := decimal(text)
		return ok
	case pgtype.Float8OID:
		return printsFloat(text)
	case pgtype.Float4OID:
		return printsReal(text)
	case pgtype.BoolOID:
		return text == "true" || text == "false"
	case pgtype.UUIDOID:
		return printsUUID(text)
	case pgtype.DateOID:
		_, rest, ok := date(text)
		return ok && rest == ""
	case pgtype.TimestampOID:
		_, rest, ok := moment(text)
		return ok && rest == ""
	case pgtype.TimestamptzOID:
		return printsInstant(text, zone)
	}
	return false
}

// printsInteger is prints for an argument that is a number.
func printsInteger(oid uint32, v int64) bool {
	switch oid {
	case pgtype.Int8OID, pgtype.NumericOID, pgtype.TextOID, pgtype.VarcharOID, pgtype.BPCharOID, pgtype.JSONOID:
		return true
	case pgtype.Int4OID:
		return v == int64(int32(v)) //nolint:gosec // that is the question
	case pgtype.Int2OID:
		return v == int64(int16(v)) //nolint:gosec // that is the question
	case pgtype.OIDOID:
		return 0 <= v && v <= math.MaxInt32 // int4 makes negative numbers of larger ones
	case pgtype.Float8OID:
		return -1e15 < v && v < 1e15
	case pgtype.Float4OID:
		return -1e6 < v && v < 1e6
	}
	return false
}

// printsArgument is prints for an argument as pgx gets it.
func printsArgument(oid uint32, v driver.Value, zone *time.Location) bool {
	switch v := v.(type) {
	case nil:
		return true
	case int64:
		return printsInteger(oid, v)
	case string:
		return prints(oid, v, zone)
	case float64:
		var buf [32]byte
		return prints(oid, string(strconv.AppendFloat(buf[:0], v, 'f', -1, 64)), zone)
	}
	return false
}

func printsInt(text string, bits int) bool {
	v, err := strconv.ParseInt(text, 10, bits)
	if err != nil || text[0] == '+' {
		return false
	}
	digits := strings.TrimPrefix(text, "-")
	return digits[0] != '0' || v == 0 && text == "0"
}

// digits are the significant digits of a decimal number, and where its fraction begins.
type digits struct{ whole, fraction string }

// decimal takes a number in decimal notation apart, and reports whether numeric prints it so.
func decimal(text string) (d digits, ok bool) {
	unsigned := strings.TrimPrefix(text, "-")
	whole, fraction, point := strings.Cut(unsigned, ".")
	if !allDigits(whole) || whole[0] == '0' && len(whole) > 1 || point && !allDigits(fraction) || len(whole) > mostDigits || len(fraction) > mostDigits {
		return d, false
	}
	zero := whole == "0" && strings.Trim(fraction, "0") == ""
	return digits{whole, fraction}, !zero || len(unsigned) == len(text)
}

// mostDigits bounds both parts of a number that is looked at; numeric has more than that.
const mostDigits = 1000

func allDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// within reports whether a floating-point type that keeps so many decimal digits prints d as it is: it
// has no more of them, no zeros behind it, and is not so small that it is printed with an exponent.
func (d digits) within(most int) bool {
	if strings.HasSuffix(d.fraction, "0") || len(d.whole)+len(d.fraction) > most {
		return false
	}
	return d.whole != "0" || d.fraction == "" || !strings.HasPrefix(d.fraction, "0000")
}

// printsFloat is prints for float8, and only for numbers that numeric and float4 take from it as they do from
// the text: PostgreSQL's cast to numeric keeps 15 digits, and a number may be rounded twice on the way to float4.
func printsFloat(text string) bool {
	d, ok := decimal(text)
	if !ok || !d.within(15) {
		return false
	}
	double, err := strconv.ParseFloat(text, 64)
	single, err32 := strconv.ParseFloat(text, 32)
	return err == nil && err32 == nil && float64(float32(double)) == single
}

// printsReal is prints for float4, and only for numbers that float4 has exactly: float8 takes from it what it has.
func printsReal(text string) bool {
	d, ok := decimal(text)
	if !ok || !d.within(6) {
		return false
	}
	double, err := strconv.ParseFloat(text, 64)
	return err == nil && double == float64(float32(double)) && !math.IsInf(double, 0)
}

func printsUUID(text string) bool {
	if len(text) != len("00000000-0000-0000-0000-000000000000") {
		return false
	}
	for i := range len(text) {
		c := text[i]
		switch i {
		case 8, 13, 18, 23:
			if c != '-' {
				return false
			}
		default:
			if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
				return false
			}
		}
	}
	return true
}

// printsInstant is prints for timestamptz, which prints the time of the session's zone.
func printsInstant(text string, zone *time.Location) bool {
	t, rest, ok := moment(text)
	if !ok || zone == nil {
		return false
	}
	offset, ok := offsetOf(rest)
	if !ok {
		return false
	}
	if zone == time.UTC {
		return offset == 0
	}
	_, there := t.Add(-time.Duration(offset) * time.Second).In(zone).Zone()
	return offset == there
}

// date reads a date of our era as PostgreSQL prints it.
func date(text string) (t time.Time, rest string, ok bool) {
	n := strings.IndexByte(text, '-')
	if n < 4 || n > 6 || n > 4 && text[0] == '0' || len(text) < n+len("-01-02") || text[n+3] != '-' {
		return t, "", false
	}
	year, ok1 := number(text[:n])
	month, ok2 := number(text[n+1 : n+3])
	day, ok3 := number(text[n+4 : n+6])
	t = time.Date(year, time.Month(month), day, 0, 0, 0, 0, time.UTC)
	ok = ok1 && ok2 && ok3 && year > 0 && year < latestYear && int(t.Month()) == month && t.Day() == day
	return t, text[n+6:], ok
}

// latestYear is one of which timestamp has not all days any more.
const latestYear = 294276

// moment reads a date and the time of a day as PostgreSQL prints them.
func moment(text string) (t time.Time, rest string, ok bool) {
	const layout = " 15:04:05"
	t, clock, ok := date(text)
	if !ok || len(clock) < len(layout) || clock[0] != ' ' || clock[3] != ':' || clock[6] != ':' {
		return t, "", false
	}
	hour, ok1 := number(clock[1:3])
	minute, ok2 := number(clock[4:6])
	second, ok3 := number(clock[7:9])
	if !ok1 || !ok2 || !ok3 || hour > 23 || minute > 59 || second > 59 {
		return t, "", false
	}
	rest = clock[len(layout):]
	if strings.HasPrefix(rest, ".") { // up to six digits, the last one not 0
		n := 1
		for n < len(rest) && rest[n] >= '0' && rest[n] <= '9' {
			n++
		}
		if n < 2 || n > 7 || rest[n-1] == '0' {
			return t, "", false
		}
		rest = rest[n:]
	}
	return t.Add(time.Duration(hour*3600+minute*60+second) * time.Second), rest, true
}

// offsetOf reads a whole offset from UTC in seconds, as PostgreSQL prints it: +01, +05:30, -00:44:30.
func offsetOf(text string) (seconds int, ok bool) {
	if len(text) < 3 || len(text)%3 != 0 || len(text) > 9 || text[0] != '+' && text[0] != '-' {
		return 0, false
	}
	unit, last := 3600, 0
	for i := 0; i < len(text); i += 3 {
		if i > 0 && text[i] != ':' {
			return 0, false
		}
		n, ok := number(text[i+1 : i+3])
		if !ok || i > 0 && n > 59 {
			return 0, false
		}
		seconds, unit, last = seconds+n*unit, unit/60, n
	}
	if len(text) > 3 && last == 0 { // it would not be printed
		return 0, false
	}
	if text[0] == '-' {
		return -seconds, seconds > 0
	}
	return seconds, true
}

// number reads a short number that has nothing but digits.
func number(s string) (n int, ok bool) {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = 10*n + int(s[i]-'0')
	}
	return n, true
}
