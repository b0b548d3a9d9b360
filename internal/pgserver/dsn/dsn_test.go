package dsn_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/internal/pgserver/dsn"
)

var forms = map[string]string{
	"url":                    `postgres://ann:p%20%27%5C+%40s@db.example:6000/one?sslmode=disable&application_name=x`,
	"url with query":         `postgresql:///?host=db.example&port=6000&dbname=one&user=ann&password=p%20%27%5C+%40s&sslmode=disable&application_name=x`,
	"url with database":      `postgres://db.example:6000?database=one&user=ann&password=p%20%27%5C+%40s&sslmode=disable&application_name=x`,
	"keywords":               `host=db.example port=6000 user=ann password='p \'\\+@s' dbname=one sslmode=disable application_name=x`,
	"keywords, spaced":       `host = db.example port = 6000 user = ann password = 'p \'\\+@s' dbname = one sslmode = disable application_name = x`,
	"keywords with database": `host=db.example port=6000 user=ann password='p \'\\+@s' database=one sslmode=disable application_name=x`,
}

func TestDatabaseChangesAndTheRestStays(t *testing.T) {
	for name, s := range forms {
		t.Run(name, func(t *testing.T) {
			changed, err := dsn.WithDatabase(s, `two 'x'\y`)
			if err != nil {
				t.Fatal(err)
			}
			check(t, changed, "db.example", 6000, `two 'x'\y`)
		})
	}
}

func TestAddressChangesAndTheRestStays(t *testing.T) {
	for name, s := range forms {
		t.Run(name, func(t *testing.T) {
			changed, err := dsn.WithAddress(s, "127.0.0.1:7000")
			if err != nil {
				t.Fatal(err)
			}
			check(t, changed, "127.0.0.1", 7000, "one")
		})
	}
}

func check(t *testing.T, s, host string, port uint16, database string) {
	t.Helper()
	c, err := dsn.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	if c.Host != host || c.Port != port || c.Database != database {
		t.Errorf("got %s:%d database %q, want %s:%d %q", c.Host, c.Port, c.Database, host, port, database)
	}
	if c.User != "ann" || c.Password != `p '\+@s` {
		t.Errorf("got user %q, password %q", c.User, c.Password)
	}
	if c.TLSConfig != nil || c.RuntimeParams["application_name"] != "x" {
		t.Errorf("got TLS %v, parameters %v", c.TLSConfig != nil, c.RuntimeParams)
	}
}

func TestNewAddressKeepsThePasswordOfTheEnvironment(t *testing.T) {
	t.Setenv("PGPASSWORD", "from the environment")
	changed, err := dsn.WithAddress("postgres://ann@db.example/one", "127.0.0.1:7000")
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("PGPASSWORD", "")
	c, err := dsn.Parse(changed)
	if err != nil {
		t.Fatal(err)
	}
	if c.Password != "from the environment" {
		t.Errorf("got password %q", c.Password)
	}
}

func TestURLReadsBack(t *testing.T) {
	check(t, dsn.URL("127.0.0.1:7000", "ann", `p '\+@s`, "one")+"&application_name=x", "127.0.0.1", 7000, "one")
}

func TestErrorsDoNotShowThePassword(t *testing.T) {
	for _, s := range []string{
		"postgres://ann:hunter2@db.example:nine/one",
		"postgres://ann:hunter2@[db.example/one",
		"host=x password='hunter2",
		"host=x port=nine pass word=hunter2",
		"hunter2",
	} {
		_, err := dsn.WithDatabase(s, "two")
		if !errors.Is(err, dsn.ErrInvalid) {
			t.Errorf("got %v, want ErrInvalid", err)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error shows the password: %v", err)
		}
	}
}

func TestOneKeywordChangesAndTheRestStays(t *testing.T) {
	for name, s := range forms {
		t.Run(name, func(t *testing.T) {
			changed, err := dsn.With(s, "search_path", `a b+'c'`)
			if err != nil {
				t.Fatal(err)
			}
			check(t, changed, "db.example", 6000, "one")
			if c, err := dsn.Parse(changed); err != nil || c.RuntimeParams["search_path"] != `a b+'c'` {
				t.Errorf("got %v, %v", c.RuntimeParams, err)
			}
		})
	}
}
