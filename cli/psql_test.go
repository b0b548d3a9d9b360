//go:build unix

package cli_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/tenantry/tenantry/catalog"
	"github.com/tenantry/tenantry/cli"
	"github.com/tenantry/tenantry/internal/driver"
)

// start runs the program in a process of its own, with more variables in its
// environment.
func (s *service) start(t *testing.T, env []string, args ...string) result {
	t.Helper()
	list, err := json.Marshal(args)
	if err != nil {
		t.Fatal(err)
	}
	var out, errs strings.Builder
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), envArgs+"="+string(list), envDSN+"="+s.dsn, envKeys+"="+s.keys)
	cmd.Env = append(cmd.Env, env...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	var ended *exec.ExitError
	if err != nil && !errors.As(err, &ended) {
		t.Fatal(err)
	}
	return result{code: cmd.ProcessState.ExitCode(), out: out.String(), err: errs.String()}
}

// fakePsql is a directory with a psql that prints its environment and arguments.
func fakePsql(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	script := "#!/bin/sh\nenv\nfor a in \"$@\"; do echo \"argument=$a\"; done\nexit 7\n"
	if err := os.WriteFile(filepath.Join(dir, "psql"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// variables reads what env prints.
func variables(text string) map[string]string {
	found := map[string]string{}
	for line := range strings.SplitSeq(text, "\n") {
		if name, value, ok := strings.Cut(line, "="); ok {
			found[name] = value
		}
	}
	return found
}

func TestPsqlGetsTheTenantsConnectionInItsEnvironment(t *testing.T) {
	t.Parallel()
	s := newService(t)
	small, large := unique("small"), unique("large")
	s.create(t, small)
	s.must(t, "tenants", "create", large, "--kind", "database")
	master, err := pgx.ParseConfig(s.dsn)
	if err != nil {
		t.Fatal(err)
	}
	path := []string{"PATH=" + fakePsql(t) + ":/usr/bin:/bin", "PGHOSTADDR=192.0.2.1", "PGSERVICEFILE=other", "PGOPTIONS=-c work_mem=1MB"}
	for id, row := range map[string]shown{
		small: parse[shown](t, s.must(t, "tenants", "show", small, "-o", "json")),
		large: parse[shown](t, s.must(t, "tenants", "show", large, "-o", "json")),
	} {
		r := s.start(t, path, "psql", id, "--", "-c", "select 1")
		r.mustEnd(t, 7)
		got := variables(r.out)
		user, password, role := master.User, master.Password, `\ -c role=`+row.Role
		if id == large {
			user, password, role = row.Role, got["PGPASSWORD"], ""
		}
		options := got["PGOPTIONS"]
		if got["PGHOST"] != master.Host || got["PGUSER"] != user || got["PGDATABASE"] != row.Database || got["PGPASSWORD"] != password || password == "" && id == large || got["PGSSLMODE"] != "disable" {
			t.Errorf("%s: got %v", id, got)
		}
		if _, there := got["PGHOSTADDR"]; there || got["PGSERVICEFILE"] != "" {
			t.Error("it would lead elsewhere")
		}
		mustContain(t, options, "-c work_mem=1MB ", `-c search_path="`+row.Schema+`",\ pg_temp`)
		if strings.Contains(options, "role=") != (role != "") || !strings.Contains(options+" ", strings.TrimPrefix(role, `\ `)+" ") {
			t.Errorf("%s: got options %s", id, options)
		}
		if !strings.HasSuffix(r.out, "argument=-c\nargument=select 1\n") || strings.Contains(strings.Join(strings.Fields(r.err), " "), "argument") {
			t.Errorf("got %s", r.out)
		}
	}
}

func TestPsqlShowsTheTenantsRows(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("psql"); err != nil {
		t.Fatal("psql is needed: install PostgreSQL's client")
	}
	s := newService(t)
	small, large := unique("small"), unique("large")
	s.create(t, small)
	s.must(t, "tenants", "create", large, "--kind", "database")
	s.must(t, "exec", "--all", "insert into invoices values (1, current_user)")
	for _, id := range []string{small, large} {
		row := parse[shown](t, s.must(t, "tenants", "show", id, "-o", "json"))
		r := s.start(t, nil, "psql", id, "--", "-XAtc", "select title, current_user, current_schema(), current_setting('search_path') from invoices")
		r.mustEnd(t, 0)
		if want := row.Role + "|" + row.Role + "|" + row.Schema + `|"` + row.Schema + `", pg_temp` + "\n"; r.out != want {
			t.Errorf("got %q, want %q", r.out, want)
		}
	}
	s.start(t, nil, "psql", small, "--", "-XAtc", `select 1 from "`+unique("x")+`".invoices`).mustEnd(t, 1, "does not exist")
}

func TestPsqlDoesNotStartWhereThereIsNothing(t *testing.T) {
	t.Parallel()
	s := newService(t)
	id := unique("acme")
	s.create(t, id)
	path := []string{"PATH=" + fakePsql(t) + ":/usr/bin:/bin"}
	r := s.start(t, path, "psql", unique("nobody"))
	r.mustEnd(t, cli.ExitError, "unknown")
	s.start(t, []string{"PATH=" + t.TempDir()}, "psql", id).mustEnd(t, cli.ExitError, "install PostgreSQL's client")

	s.withCatalog(t, func(ctx context.Context, c *catalog.Catalog) error { return c.Suspend(ctx, tenant(t, id)) })
	s.start(t, path, "psql", id).mustEnd(t, cli.ExitError, "suspended")
	s.withCatalog(t, func(ctx context.Context, c *catalog.Catalog) error { return c.Resume(ctx, tenant(t, id)) })
	row := parse[shown](t, s.must(t, "tenants", "show", id, "-o", "json"))
	change(t, s.dsn, `alter schema "`+row.Schema+`" rename to elsewhere`)
	r = s.start(t, path, "psql", id)
	r.mustEnd(t, cli.ExitError, row.Schema)
	if r.out != "" {
		t.Errorf("psql was started: %s", r.out)
	}
	change(t, s.dsn, `alter schema elsewhere rename to "`+row.Schema+`"`)
}

func TestTheConnectionOfPsqlIsAsStrictAsTheApplications(t *testing.T) {
	t.Parallel()
	root := filepath.Join(t.TempDir(), "root's.pem")
	if err := os.WriteFile(root, []byte(certificate), 0o600); err != nil {
		t.Fatal(err)
	}
	quoted := `'` + strings.ReplaceAll(root, `'`, `\'`) + `'`
	for _, c := range []struct {
		dsn  string
		want map[string]string
	}{
		{"postgres://u:p%20w@h:5433/d?sslmode=disable", map[string]string{"PGSSLMODE": "disable", "PGHOST": "h", "PGPORT": "5433", "PGUSER": "u", "PGPASSWORD": "p w", "PGDATABASE": "d"}},
		{"host=h user=u sslmode=allow", map[string]string{"PGSSLMODE": "allow", "PGDATABASE": "u", "PGPASSWORD": ""}},
		{"host=h user=u", map[string]string{"PGSSLMODE": "prefer"}},
		{"host=h user=u sslmode=require", map[string]string{"PGSSLMODE": "require"}},
		{"host=h user=u sslmode=require sslrootcert=" + quoted, map[string]string{"PGSSLMODE": "verify-ca", "PGSSLROOTCERT": root}},
		{"host=h user=u sslmode = verify-ca sslrootcert=" + quoted, map[string]string{"PGSSLMODE": "verify-ca", "PGSSLROOTCERT": root}},
		{"host=h user=u sslmode=verify-full connect_timeout=3", map[string]string{"PGSSLMODE": "verify-full", "PGCONNECT_TIMEOUT": "3"}},
		{"host=h,/run/x port=1,2 user=u sslmode=verify-full", map[string]string{"PGSSLMODE": "verify-full", "PGHOST": "h,/run/x", "PGPORT": "1,2"}},
		{"host=h,i user=u sslmode=prefer target_session_attrs=read-write", map[string]string{"PGSSLMODE": "prefer", "PGHOST": "h,i", "PGTARGETSESSIONATTRS": "read-write"}},
		{"host=/run/x user=u sslmode=require", map[string]string{"PGSSLMODE": "", "PGHOST": "/run/x"}},
		{"postgres://h/d?user=u&application_name=shop&timezone=UTC&options=-c%20geqo%3Doff", map[string]string{"PGAPPNAME": "shop", "PGOPTIONS": `-c geqo=off -c timezone=UTC -c search_path="a\ b\\c",\ pg_temp`}},
	} {
		config, err := pgx.ParseConfig(c.dsn)
		if err != nil {
			t.Fatal(err)
		}
		got := variables(strings.Join(cli.Environment(config, []driver.Setting{{Name: "search_path", Value: `"a b\c", pg_temp`}}), "\n"))
		for name, want := range c.want {
			if got[name] != want {
				t.Errorf("%s: got %s %q, want %q", c.dsn, name, got[name], want)
			}
		}
	}
}

// certificate is an authority's that nobody trusts.
const certificate = `-----BEGIN CERTIFICATE-----
MIIBdTCCARugAwIBAgIUErwFI8bzEa5vYmkKiTXBfi1G7U0wCgYIKoZIzj0EAwIw
DzENMAsGA1UEAwwEdGVzdDAgFw0yNjExMjMyMDA2MjBaGA8yMTI2MTAzMDIwMDYy
MFowDzENMAsGA1UEAwwEdGVzdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABB2Q
ZktDbVjwUJlSvRGKLzIc49rjxOaV5zRNaUfKYXUqo+P+t/fqI4KlhWzJ0CJ/4ZuK
QXez6Op55pIvka/+geKjUzBRMB0GA1UdDgQWBBQPKFyyZR01GtyaqaS6ox8JaW4O
kjAfBgNVHSMEGDAWgBQPKFyyZR01GtyaqaS6ox8JaW4OkjAPBgNVHRMBAf8EBTAD
AQH/MAoGCCqGSM49BAMCA0gAMEUCIQDS9fwyMYPilEYQORsqFkWLlZqTRvRqYPWw
XklGQjSY9wIgX8ouMb0J/jfwXgMnHWOU4cexVtEayN2kH7mTRBYP+eg=
-----END CERTIFICATE-----
`
