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
	r = s.run(t, "doctor", "-o", "json", "--processes", "1000", "--schema-prefix", "customer_")
	r.mustEnd(t, cli.ExitFound, "2 findings to mend")
	var ids []string
	for _, f := range parse[[]finding](t, r.out) {
		ids = append(ids, f.Severity+" "+f.ID)
		if f.What == "" || f.Why == "" || f.How == "" {
			t.Errorf("got %+v", f)
		}
	}
	if got := strings.Join(ids, ", "); got != "problem login-superuser, problem connections, info server-version" {
		t.Errorf("got %s", got)
	}
	mustContain(t, s.run(t, "doctor", "--budget", "1000").out, "tenants' databases 1000; 1 process")
}

func TestTheDoctorEndsWellWhereNothingIsWrong(t *testing.T) {
	t.Parallel()
	s := newService(t)
	login := unique("app")
	change(t, s.dsn, "create role "+login+" login password 's3cret'")
	t.Cleanup(func() { change(t, s.dsn, "drop role "+login) })
	cfg, err := dsn.Parse(s.dsn)
	if err != nil {
		t.Fatal(err)
	}
	weak := dsn.URL(net.JoinHostPort(cfg.Host, strconv.Itoa(int(cfg.Port))), login, "s3cret", cfg.Database)
	app := cli.App{Name: "myservice", Open: func(context.Context) (*cli.Service, error) {
		db, closeDB, err := openDB(weak, plugin.BySchema())
		return &cli.Service{DB: db, Close: closeDB}, err
	}}
	r := run(t, app, "doctor")
	r.mustEnd(t, cli.ExitOK)
	mustContain(t, r.out, "info  server-version\n", "nothing has to be mended\n")
}

func TestTheDoctorSaysWhatCouldNotBeMeasured(t *testing.T) {
	t.Parallel()
	app := cli.App{Name: "myservice", Open: func(context.Context) (*cli.Service, error) { return &cli.Service{}, nil }}
	run(t, app, "doctor").mustEnd(t, cli.ExitError, "Service.DB is nil")
	app.Open = func(context.Context) (*cli.Service, error) { return nil, errors.New("no network") }
	run(t, app, "doctor").mustEnd(t, cli.ExitError, "no network")
	run(t, app, "doctor", "acme").mustEnd(t, cli.ExitUsage, "an argument too many")
	run(t, app, "doctor", "--processes", "0").mustEnd(t, cli.ExitUsage, "--processes: 0 is less than 1")
}
