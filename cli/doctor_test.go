package cli_test

import (
	"context"
	"errors"
	"net"
	"strconv"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/cli"
	"github.com/tenantry/tenantry/internal/pgserver/dsn"
	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
	"github.com/tenantry/tenantry/plugin"
)

// finding is a finding as JSON.
type finding struct{ ID, Severity, What, Why, How string }

func TestTheDoctorsFindingsAreToldAndEndWithACode(t *testing.T) {
	t.Parallel()
	s := newService(t)
	s.create(t, unique("acme"))
	r := s.run(t, "doctor")
	r.mustEnd(t, cli.ExitFound, "myservice: 1 finding to mend")
	mustContain(t, r.out, "problem  login-superuser\n  what  The application logs in as the superuser", "\n  why   ", "\n  how   ", "\ninfo  server-version\n")
	change(t, s.dsn, "create schema customer_gone")
	r = s.run(t, "doctor", "-o", "json", "--processes", "1000", "--schema-prefix", "customer_")
	r.mustEnd(t, cli.ExitFound, "3 findings to mend")
	var ids []string
	for _, f := range parse[[]finding](t, r.out) {
		ids = append(ids, f.Severity+" "+f.ID)
		if f.What == "" || f.Why == "" || f.How == "" {
			t.Errorf("got %+v", f)
		}
	}
	if got := strings.Join(ids, ", "); got != "problem login-superuser, problem connections, warning orphan, info server-version" {
		t.Errorf("got %s", got)
	}
	mustContain(t, s.run(t, "doctor", "--budget", "1000").out, "tenants' databases 1000; 1 process")
	r = s.run(t, "doctor", "--accept", "login-superuser,twin-table")
	r.mustEnd(t, cli.ExitOK)
	mustContain(t, r.out, "info  login-superuser\n", "It is accepted", "nothing has to be mended\n")
}

// TestTheDoctorDoesNotCallWellWhatItCouldNotMeasure takes a right away that the check
// of the locks needs.
func TestTheDoctorDoesNotCallWellWhatItCouldNotMeasure(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	change(t, dsn, "revoke select on pg_catalog.pg_trigger from public")
	r := run(t, onLogin(t, dsn), "doctor")
	r.mustEnd(t, cli.ExitError, "myservice: doctor: measure ", "measure locks: ")
	mustContain(t, r.out, "info  server-version\n")
	if strings.Contains(r.out, "nothing has to be mended") {
		t.Errorf("got %s", r.out)
	}
}

func TestTheDoctorEndsWellWhereNothingIsWrong(t *testing.T) {
	t.Parallel()
	r := run(t, onLogin(t, pgtest.Database(t)), "doctor")
	r.mustEnd(t, cli.ExitOK)
	mustContain(t, r.out, "info  server-version\n", "nothing has to be mended\n")
}

// onLogin returns an application without a catalog that logs in as a role without
// any rights.
func onLogin(t *testing.T, database string) cli.App {
	t.Helper()
	login := unique("app")
	change(t, database, "create role "+login+" login password 's3cret'")
	t.Cleanup(func() { change(t, database, "drop role "+login) })
	cfg, err := dsn.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	as := dsn.URL(net.JoinHostPort(cfg.Host, strconv.Itoa(int(cfg.Port))), login, "s3cret", cfg.Database)
	return cli.App{Name: "myservice", Open: func(context.Context) (*cli.Service, error) {
		db, closeDB, err := openDB(as, plugin.BySchema())
		return &cli.Service{DB: db, Close: closeDB}, err
	}}
}

func TestTheDoctorSaysWhatCouldNotBeMeasured(t *testing.T) {
	t.Parallel()
	app := cli.App{Name: "myservice", Open: func(context.Context) (*cli.Service, error) { return &cli.Service{}, nil }}
	run(t, app, "doctor").mustEnd(t, cli.ExitError, "Service.DB is nil")
	app.Open = func(context.Context) (*cli.Service, error) { return nil, errors.New("no network") }
	run(t, app, "doctor").mustEnd(t, cli.ExitError, "no network")
	run(t, app, "doctor", "acme").mustEnd(t, cli.ExitUsage, "an argument too many")
	run(t, app, "doctor", "--processes", "0").mustEnd(t, cli.ExitUsage, "--processes: 0 is less than 1")
	run(t, app, "doctor", "--accept", "nonsense").mustEnd(t, cli.ExitUsage, `there is no finding "nonsense"`, "base-path")
}
