package driver

import (
	"context"
	"database/sql/driver"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
	"github.com/tenantry/tenantry/internal/sqltext"
)

// printed are the types that prints knows, and others that a column may get.
var printed = map[string]uint32{
	"text": pgtype.TextOID, "varchar": pgtype.VarcharOID, "bpchar": pgtype.BPCharOID, "json": pgtype.JSONOID,
	"int2": pgtype.Int2OID, "int4": pgtype.Int4OID, "int8": pgtype.Int8OID, "oid": pgtype.OIDOID, "numeric": pgtype.NumericOID,
	"float4": pgtype.Float4OID, "float8": pgtype.Float8OID, "bool": pgtype.BoolOID, "uuid": pgtype.UUIDOID,
	"date": pgtype.DateOID, "timestamp": pgtype.TimestampOID, "timestamptz": pgtype.TimestamptzOID,
	"time": pgtype.TimeOID, "jsonb": pgtype.JSONBOID, "interval": pgtype.IntervalOID, "bytea": pgtype.ByteaOID,
}

// values are texts of all kinds, the odd ones among them.
func values() []string {
	all := []string{
		"", " ", "a", "a ", " a", "é", "null", "007", "7", "+7", "-7", " 7", "7 ", "0", "-0", "00", "0x7", "1_000", "32767", "32768", "-32768", "-32769", "2147483647", "2147483648",
		"4294967295", "4294967296", "9223372036854775807", "9223372036854775808", "-9223372036854775808", "0.1", ".1", "1.", "0.10", "-0.1", "-0.0", "0.0", "1.50", "1e3", "1E3", "1e+15", "1e-05",
		"0.0001", "0.00001", "0.00012", "123456", "1234567", "1000000", "0.5", "0.25", "16777217", "100000000000000", "1000000000000000", "0.30000000000000004", "0.300000000000000", "9007199254740993",
		"NaN", "Infinity", "-Infinity", "inf", "true", "false", "t", "f", "TRUE", "on", "1", "yes",
		"6f1ed002-ab5e-4d5a-8d6f-0c0b0f0e0d0c", "6F1ED002-ab5e-4d5a-8d6f-0c0b0f0e0d0c", "6f1ed002ab5e4d5a8d6f0c0b0f0e0d0c", "{6f1ed002-ab5e-4d5a-8d6f-0c0b0f0e0d0c}",
		`{"a":1}`, `{"a": 1}`, `{ "b":1, "a":2 }`, "[1,  2]", `"x"`, "{", `\x00ff`, `\x00FF`,
		"2026-05-04", "2026-5-4", "2026-02-29", "2024-02-29", "0001-01-01", "0000-01-01", "10000-01-01", "010000-01-01", "294276-12-31", "294277-01-01", "0044-03-15 BC", "infinity", "today", "04/05/2026",
		"2026-05-04 15:04:05", "2026-05-04T15:04:05", "2026-05-04 15:04", "2026-05-04 15:04:05.1", "2026-05-04 15:04:05.10", "2026-05-04 15:04:05.123456", "2026-05-04 15:04:05.1234567", "2026-05-04 15:04:05.", "2026-05-04 24:00:00", "2026-05-04 23:59:60",
		"2026-05-04 15:04:05Z", "2026-05-04 15:04:05+00", "2026-05-04 15:04:05+00:00", "2026-05-04 15:04:05-00", "2026-05-04 15:04:05+02", "2026-05-04 15:04:05+05:30", "2026-05-04 15:04:05+05:00", "2026-05-04 15:04:05+5",
		"1890-01-01 00:00:00+00:53:28", "1890-01-01 00:00:00-00:53:28", "2026-05-04 15:04:05 UTC", "2026-05-04 15:04:05+00 BC", "2026-01-04 15:04:05+01", "2026-01-04 15:04:05-05", "2026-05-04 15:04:05.5-04", "2026-03-29 02:30:00+01", "2026-03-29 03:30:00+02", "2026-10-25 02:30:00+01", "2026-10-25 02:30:00+02",
		"15:04:05", "1 day", "P1D",
	}
	r := rand.New(rand.NewPCG(1, 2))
	zones := []*time.Location{time.UTC, time.FixedZone("", 3600), time.FixedZone("", 5*3600+1800), time.FixedZone("", 7200), time.FixedZone("", -12345)}
	for range 25 {
		v := math.Float64frombits(r.Uint64())
		all = append(all,
			strconv.FormatInt(int64(r.Uint64()>>r.IntN(64)), 10), strconv.FormatFloat(v, 'f', -1, 64), strconv.FormatFloat(r.Float64(), 'f', r.IntN(18), 64),
			strconv.FormatFloat(float64(r.IntN(1e6))/100, 'f', -1, 64), strconv.FormatFloat(r.NormFloat64()*1e9, 'g', r.IntN(20), 64),
			strconv.FormatFloat(float64(r.Float32()), 'f', -1, 32), fmt.Sprintf("%d.%d", r.IntN(100), r.IntN(1000)),
			formatTime(time.Unix(r.Int64N(1<<34)-1<<33, r.Int64N(1e9)).In(zones[r.IntN(len(zones))])),
			time.Unix(r.Int64N(1<<34)-1<<33, r.Int64N(10)*1e8).UTC().Format("2006-01-02 15:04:05.999999"))
	}
	return all
}

// connectTo connects to a server, in the formats of this package.
func connectTo(t testing.TB) *pgx.Conn {
	t.Helper()
	cfg, err := ParseConfig(pgtest.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	(&facts{}).setParameters(cfg.ConnConfig)
	cfg.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeExec
	conn, err := pgx.ConnectConfig(context.Background(), cfg.ConnConfig)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func setZone(t testing.TB, conn *pgx.Conn, name string) *time.Location {
	t.Helper()
	if _, err := conn.Exec(context.Background(), "select set_config('timezone', $1, false)", name); err != nil {
		t.Fatal(err)
	}
	location, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return location
}

// serverPrints asks the server whether a type prints a text as it is.
func serverPrints(conn *pgx.Conn, typ, text string) bool {
	var same bool
	sql := fmt.Sprintf("select ($1::%s)::text = %s", typ, sqltext.Literal(text))
	if typ == "bpchar" { // its cast would cut off the spaces
		sql = "select concat($1::bpchar) = " + sqltext.Literal(text)
	}
	return conn.QueryRow(context.Background(), sql, text).Scan(&same) == nil && same
}

// TestPrints holds what prints says against what the server prints.
func TestPrints(t *testing.T) {
	t.Parallel()
	conn := connectTo(t)
	for _, name := range []string{"UTC", "Europe/Berlin", "Asia/Kolkata", "America/New_York"} {
		zone := setZone(t, conn, name)
		for typ, oid := range printed {
			known := 0
			for _, text := range values() {
				if strings.ContainsRune(text, 0) || !prints(oid, text, zone) {
					continue
				}
				known++
				if !serverPrints(conn, typ, text) && typ != "json" { // what is no JSON is refused either way
					t.Errorf("%s: %q is not what %s prints", name, text, typ)
				}
			}
			if usual := oid != pgtype.TimeOID && oid != pgtype.JSONBOID && oid != pgtype.IntervalOID && oid != pgtype.ByteaOID; usual != (known > 0) {
				t.Errorf("%s: of type %s %d texts are known", name, typ, known)
			}
		}
	}
}

// TestUsualArgumentsAreWhatTheirTypesPrint, and so their statements are kept.
func TestUsualArgumentsAreWhatTheirTypesPrint(t *testing.T) {
	t.Parallel()
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 5, 4, 15, 4, 5, 120000000, time.UTC)
	tests := []struct {
		oid  uint32
		v    any
		zone *time.Location
		want bool
	}{
		{pgtype.Int8OID, nil, nil, true},
		{pgtype.Int8OID, int64(-7), nil, true},
		{pgtype.Int4OID, int64(math.MaxInt32), nil, true},
		{pgtype.Int4OID, int64(math.MaxInt32 + 1), nil, false},
		{pgtype.Int2OID, int64(math.MaxInt16 + 1), nil, false},
		{pgtype.OIDOID, int64(-1), nil, false},
		{pgtype.BoolOID, int64(1), nil, false},
		{pgtype.TextOID, int64(7), nil, true},
		{pgtype.Int4OID, "007", nil, false},
		{pgtype.Int4OID, "7", nil, true},
		{pgtype.TextOID, "007", nil, true},
		{pgtype.BPCharOID, "a ", nil, false},
		{pgtype.NumericOID, 0.1, nil, true},
		{pgtype.Float8OID, 0.1, nil, true},
		{pgtype.Float8OID, 0.30000000000000004, nil, false}, // numeric would get 0.3
		{pgtype.Float4OID, 0.1, nil, false},                 // float8 would get 0.10000000149011612
		{pgtype.Float4OID, 0.5, nil, true},
		{pgtype.BoolOID, true, nil, true},
		{pgtype.UUIDOID, "6f1ed002-ab5e-4d5a-8d6f-0c0b0f0e0d0c", nil, true},
		{pgtype.TimestamptzOID, at, time.UTC, true},
		{pgtype.TimestamptzOID, at, berlin, false},
		{pgtype.TimestamptzOID, at.In(berlin), berlin, true},
		{pgtype.TimestamptzOID, at.In(berlin).AddDate(0, 6, 0), berlin, true},
		{pgtype.TimestamptzOID, at, nil, false},
		{pgtype.DateOID, at, time.UTC, false},
		{pgtype.TimestampOID, at, time.UTC, false},
		{pgtype.DateOID, "2026-05-04", nil, true},
		{pgtype.JSONOID, `{"b": 1,"a":2}`, nil, true},
		{pgtype.JSONBOID, `{"a": 1}`, nil, false},
		{pgtype.Int4ArrayOID, "{1}", nil, false},
	}
	for _, tt := range tests {
		v, ok, err := plain(tt.v)
		if !ok || err != nil {
			t.Fatalf("%v: plain %t, error %v", tt.v, ok, err)
		}
		if got := printsArgument(tt.oid, v, tt.zone); got != tt.want {
			t.Errorf("type %d, %T %v in %v: %t, want %t", tt.oid, tt.v, tt.v, tt.zone, got, tt.want)
		}
	}
}

// TestPrintsAllocatesNothing: it is asked for each argument of each kept statement.
func TestPrintsAllocatesNothing(t *testing.T) { //nolint:paralleltest // it counts allocations
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		oid uint32
		v   driver.Value
	}{
		{pgtype.Int8OID, int64(7)}, {pgtype.Int4OID, "2147483647"}, {pgtype.TextOID, "text"}, {pgtype.NumericOID, 12345.678}, {pgtype.Float8OID, 0.1},
		{pgtype.UUIDOID, "6f1ed002-ab5e-4d5a-8d6f-0c0b0f0e0d0c"}, {pgtype.TimestamptzOID, "2026-05-04 15:04:05.123456+02"}, {pgtype.BoolOID, "true"},
	} {
		if n := testing.AllocsPerRun(100, func() { printsArgument(tt.oid, tt.v, berlin) }); n > 0 || !printsArgument(tt.oid, tt.v, berlin) {
			t.Errorf("type %d, %v: %v allocations, prints %t", tt.oid, tt.v, n, printsArgument(tt.oid, tt.v, berlin))
		}
	}
}

// TestAColumnOfAnotherTypeGetsTheSameFromAKeptParameter as from the text, or an error, with which
// the statement is sent anew.
func TestAColumnOfAnotherTypeGetsTheSameFromAKeptParameter(t *testing.T) {
	t.Parallel()
	ctx, conn := context.Background(), connectTo(t)
	rounds := func(from, to string) bool { // where the text would be refused
		return (from == "numeric" || strings.HasPrefix(from, "float")) && strings.HasPrefix(to, "int")
	}
	for _, name := range []string{"UTC", "Europe/Berlin"} {
		zone := setZone(t, conn, name)
		for to := range printed {
			if _, err := conn.Exec(ctx, "drop table if exists pg_temp.t; create temp table t (v "+to+")"); err != nil {
				t.Fatal(err)
			}
			for from, oid := range printed {
				if _, err := conn.Exec(ctx, "explain insert into pg_temp.t values (null::"+from+")"); err != nil {
					continue // no such cast: the kept statement fails
				}
				for _, text := range values() {
					if !prints(oid, text, zone) {
						continue
					}
					var kept, anew string
					if err := conn.QueryRow(ctx, "insert into pg_temp.t values ($1::"+from+") returning v::text", text).Scan(&kept); err != nil {
						continue
					}
					err := conn.QueryRow(ctx, "insert into pg_temp.t values ($1) returning v::text", text).Scan(&anew)
					if (err != nil || kept != anew) && (err == nil || !rounds(from, to)) {
						t.Errorf("%s: %q as %s makes %q of a %s, and by itself %q, error %v", name, text, from, kept, to, anew, err)
					}
				}
			}
		}
	}
}

// FuzzPrints looks for a text that prints takes for what a type prints, and the server does not.
func FuzzPrints(f *testing.F) {
	for _, text := range values() {
		f.Add(text)
	}
	conn := connectTo(f)
	zone := setZone(f, conn, "Europe/Berlin")
	f.Fuzz(func(t *testing.T, text string) {
		for typ, oid := range printed {
			if !strings.ContainsRune(text, 0) && prints(oid, text, zone) && oid != pgtype.JSONOID && !serverPrints(conn, typ, text) && strings.ToValidUTF8(text, "") == text {
				t.Errorf("%q is not what %s prints", text, typ)
			}
		}
	})
}
