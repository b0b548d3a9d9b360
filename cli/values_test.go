package cli_test

import (
	"encoding/json"
	"testing"

	"github.com/jackc/pgx/v5/pgtype"

	"github.com/tenantry/tenantry/cli"
)

func TestValuesKeepTheirTypeAndTheirDigits(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		oid        uint32
		text, want string
	}{
		{pgtype.BoolOID, "t", "true"},
		{pgtype.BoolOID, "f", "false"},
		{pgtype.Int8OID, "-9223372036854775808", "-9223372036854775808"},
		{pgtype.NumericOID, "0.10000000000000000000001", "0.10000000000000000000001"},
		{pgtype.NumericOID, "NaN", `"NaN"`},
		{pgtype.Float8OID, "-Infinity", `"-Infinity"`},
		{pgtype.Float8OID, "1e+300", "1e+300"},
		{pgtype.JSONOID, `{"a": null}`, `{"a":null}`},
		{pgtype.TextOID, "1", `"1"`},
		{pgtype.TextOID, "", `""`},
		{pgtype.ByteaOID, `\x00`, `"\\x00"`},
	} {
		got, err := json.Marshal(cli.JSONValue(c.oid, []byte(c.text)))
		if err != nil || string(got) != c.want {
			t.Errorf("%d %s: got %s, %v, want %s", c.oid, c.text, got, err, c.want)
		}
	}
	if got := cli.JSONValue(pgtype.TextOID, nil); got != nil {
		t.Errorf("got %v, want nil", got)
	}
}

func TestATerminalIsNotCommandedByATenantsText(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"plain, ümläut, 日本":  "plain, ümläut, 日本",
		"\x1b[2Jgone":        `\x1b[2Jgone`,
		"two\nlines\tand":    `two\nlines\tand`,
		"bell\a\x00\u202eok": `bell\a\x00\u202eok`,
		`back\slash "quote"`: `back\slash "quote"`,
	} {
		if got := cli.Printable(text); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
