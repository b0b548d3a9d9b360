package driver

import (
	"database/sql/driver"
	"math"
	"reflect"
	"strconv"
	"time"
)

// plain returns v in a form whose text is the same whatever the parameter's
// type, and true; or the value to encode once that type is known, and false.
// A driver.Valuer is asked for its value first.
func plain(v any) (any, bool, error) {
	if valuer, ok := v.(driver.Valuer); ok {
		if isNil(v) {
			return nil, true, nil
		}
		value, err := valuer.Value()
		if err != nil {
			return nil, false, err
		}
		v = value
	}
	value, ok := plainValue(v)
	return value, ok, nil
}

// isNil reports whether v is a nil pointer, whose Value method may not be meant
// to be called.
func isNil(v any) bool {
	r := reflect.ValueOf(v)
	return r.Kind() == reflect.Pointer && r.IsNil()
}

func plainValue(v any) (any, bool) {
	switch v := v.(type) {
	case nil, string, int64, float64:
		return v, true
	case time.Time:
		return formatTime(v), true
	}
	r := reflect.ValueOf(v)
	if r.Kind() == reflect.Pointer {
		if r.IsNil() {
			return nil, true
		}
		value, ok, err := plain(r.Elem().Interface())
		if !ok || err != nil {
			return v, false
		}
		return value, true
	}
	return plainKind(v, r)
}

// plainKind treats a defined type such as `type Status string` as its
// underlying type. One with methods is left to pgx: it may be a Stringer, whose
// text is meant for a text column and whose number for an integer column.
func plainKind(v any, r reflect.Value) (any, bool) {
	if r.NumMethod() > 0 {
		return v, false
	}
	switch {
	case r.Kind() == reflect.String:
		return r.String(), true
	case r.Kind() == reflect.Bool:
		return strconv.FormatBool(r.Bool()), true
	case r.CanInt():
		return r.Int(), true
	case r.CanUint() && r.Uint() <= math.MaxInt64:
		return int64(r.Uint()), true //nolint:gosec // checked
	case r.CanUint():
		return strconv.FormatUint(r.Uint(), 10), true
	case r.CanFloat():
		return r.Float(), true
	}
	return v, false
}

// formatTime writes t with its own offset, as the server prints it in a session of that zone.
// timestamptz takes the instant; timestamp, date and time ignore the offset and take the wall
// clock, as pgx does when it knows the type.
func formatTime(t time.Time) string {
	t = t.Truncate(time.Microsecond)
	const layout = "-01-02 15:04:05.999999"
	zone := "-07"
	if _, offset := t.Zone(); offset%60 != 0 {
		zone = "-07:00:00"
	} else if offset%3600 != 0 {
		zone = "-07:00"
	}
	year := t.Year()
	switch {
	case year >= 1000 && year <= 9999:
		return t.Format("2006" + layout + zone)
	case year > 0:
		return pad(year) + t.Format(layout+zone)
	}
	return pad(1-year) + t.Format(layout+zone) + " BC"
}

func pad(year int) string {
	s := strconv.Itoa(year)
	for len(s) < 4 {
		s = "0" + s
	}
	return s
}
