package cli_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/cli"
)

func TestTheShellCompletesWhatThereIs(t *testing.T) {
	t.Parallel()
	s, ids := three(t)
	s.migrations = append(first(), noted())
	s.must(t, "migrate", "up")
	for _, c := range []struct {
		args []string
		want []string
	}{
		{[]string{"tenants", "show", ""}, ids},
		{[]string{"tenants", "drop", ids[1][:3]}, ids[1:2]},
		{[]string{"tenants", "show", ids[0], ""}, nil},
		{[]string{"tenants", "repair", ids[0], ids[2][:3]}, ids[2:]},
		{[]string{"psql", ids[0][:3]}, ids[:1]},
		{[]string{"exec", "--tenant", ids[2][:3]}, ids[2:]},
		{[]string{"migrate", "up", "--canary-tenant", ids[2][:3]}, ids[2:]},
		{[]string{"migrate", "drift", "--reference", ids[2][:3]}, ids[2:]},
		{[]string{"migrate", "runs", ""}, []string{"1"}},
		{[]string{"migrate", "runs", "1", ""}, nil},
		{[]string{"tenants", "list", "--server", ""}, []string{"main"}},
		{[]string{"tenants", "list", "--state", ""}, []string{"provisioning", "active", "suspended", "deleting", "failed"}},
		{[]string{"migrate", "status", "--state", ""}, []string{"pending", "running", "current", "failed"}},
		{[]string{"tenants", "create", "--kind", ""}, []string{"schema", "database"}},
		{[]string{"tenants", "list", "-o", ""}, []string{"table", "json"}},
	} {
		r := s.run(t, append([]string{"__complete"}, c.args...)...)
		r.mustEnd(t, cli.ExitOK)
		var got []string
		for l := range strings.SplitSeq(r.out, "\n") {
			if strings.HasPrefix(l, ":") {
				break
			}
			got = append(got, l)
		}
		if !strings.Contains(r.out, ":4\n") { // no files
			t.Errorf("%q: got %q", c.args, r.out)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%q: got %q, want %q", c.args, got, c.want)
		}
	}
	if opened, closed := s.opened.Load(), s.closed.Load(); opened != closed {
		t.Errorf("opened %d times, closed %d times", opened, closed)
	}
}

func TestACompletionThatFailsIsNone(t *testing.T) {
	t.Parallel()
	app := cli.App{Name: "myservice", Open: func(context.Context) (*cli.Service, error) { return nil, errors.New("no database") }}
	r := run(t, app, "__complete", "tenants", "show", "")
	r.mustEnd(t, cli.ExitOK)
	if !strings.HasPrefix(r.out, ":4\n") || strings.Contains(r.err, "no database") {
		t.Errorf("got %q, %q", r.out, r.err)
	}
}
