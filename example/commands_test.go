package main_test

import (
	"strings"
	"testing"

	example "github.com/tenantry/tenantry/example"
)

// command runs a command line of the program.
func command(t *testing.T, args ...string) (code int, out, errs string) {
	t.Helper()
	var o, e strings.Builder
	code = example.Program(t.Context(), args, &o, &e)
	return code, o.String(), e.String()
}

func TestACommandOnAPrivateServerShowsTheCustomersOfTheDemonstration(t *testing.T) {
	shielded(t)
	code, out, errs := command(t, "tenants", "list")
	if code != 0 {
		t.Fatalf("got exit code %d: %s", code, errs)
	}
	mustContain(t, out, "\nacme    Acme Corp  active  schema    main", "\nglobex  Globex     active  database  main")
	mustContain(t, errs, "starting a private PostgreSQL")
}

func TestACommandWorksOnTheDatabaseThatIsNamed(t *testing.T) {
	t.Parallel()
	dsn := database(t)
	if code, out, errs := command(t, "tenants", "list", "--dsn", dsn, "-o", "json"); code != 0 || out != "[]\n" {
		t.Errorf("got %d %s %s", code, out, errs)
	}
	if out, err := runOnce(t, "-dsn", dsn); err != nil {
		t.Fatalf("%v after:\n%s", err, out)
	}
	code, out, errs := command(t, "exec", "--dsn", dsn, "--all", "select count(*) from invoices")
	if code != 0 {
		t.Fatalf("got exit code %d: %s", code, errs)
	}
	mustContain(t, out, "acme    4\n", "globex  2\n")
	if code, out, _ := command(t, "migrate", "up", "--dsn", dsn); code != 0 || !strings.Contains(out, "nothing to do: 2 tenants") {
		t.Errorf("got %d %s", code, out)
	}
}

func TestWhatIsNoCommandIsAFlagOfTheService(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"postgres://u:secret@h/d"}, 2, "an argument that belongs to no flag"},
		{[]string{"-dsn", "nonsense"}, 2, "-dsn: "},
		{[]string{"tenants", "list", "--dsn", "nonsense"}, 1, "-dsn: "},
		{[]string{"tenants", "lst"}, 2, "did you mean list?"},
	} {
		code, _, errs := command(t, c.args...)
		if code != c.code || !strings.Contains(errs, c.want) || strings.Contains(errs, "secret") {
			t.Errorf("%q: got %d %s", c.args, code, errs)
		}
	}
	code, out, _ := command(t, "help", "migrate")
	if code != 0 || !strings.Contains(out, "rollback") {
		t.Errorf("got %d %s", code, out)
	}
}

func TestPsqlNeedsAServerThatStays(t *testing.T) {
	shielded(t)
	t.Setenv("TENANTRY_TEST_DSN", "")
	if code, _, errs := command(t, "psql", "acme"); code != 1 || !strings.Contains(errs, "name a database with --dsn") {
		t.Errorf("got %d %s", code, errs)
	}
}
