package cli

import (
	"errors"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tenantry/tenantry/catalog"
	"github.com/tenantry/tenantry/migrator"
	"github.com/tenantry/tenantry/scope"
)

// selection is the flags that select tenants.
type selection struct {
	all     bool
	tenants []string
	labels  []string
	servers []string
	states  []string
	first   int
}

// flags gives cmd the flags. states are the states that there are.
func (s *selection) flags(t *tree, cmd *cobra.Command, states []string) {
	f := cmd.Flags()
	f.StringSliceVar(&s.tenants, "tenant", nil, "only this `tenant`; may be repeated")
	f.StringArrayVar(&s.labels, "label", nil, "only tenants with this label, `key=value`; may be repeated")
	f.StringSliceVar(&s.servers, "server", nil, "only tenants on this `server`; may be repeated")
	f.StringSliceVar(&s.states, "state", nil, "only tenants in this `state`: "+strings.Join(states, ", ")+"; may be repeated")
	countFlag(cmd, &s.first, "first", "", "only the first `n` of the selected tenants")
	_ = cmd.RegisterFlagCompletionFunc("tenant", t.complete(tenantIDs))
	_ = cmd.RegisterFlagCompletionFunc("server", t.complete(serverNames))
	_ = cmd.RegisterFlagCompletionFunc("state", fixed(states))
	_ = cmd.RegisterFlagCompletionFunc("label", cobra.NoFileCompletions)
}

// allFlag is for commands that must be told that all tenants are meant.
func (s *selection) allFlag(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&s.all, "all", false, "all tenants")
}

// given reports whether some tenants are selected, and not all.
func (s *selection) given() bool {
	return len(s.tenants)+len(s.labels)+len(s.servers)+len(s.states) > 0 || s.first != 0
}

// nobodySelected is for who would otherwise think that all is well.
const nobodySelected = "the selection selects no tenant"

// nobody returns an error if n, how many tenants are selected, is 0 although a label
// or a server is named: most likely it is misspelled. That nobody is in a state is
// none.
func (s *selection) nobody(n int) error {
	if n == 0 && len(s.labels)+len(s.servers) > 0 && len(s.states) == 0 {
		return errors.New(nobodySelected)
	}
	return nil
}

// idle says that there is nothing to do for the n tenants that are selected.
func (s *selection) idle(n int) string {
	switch {
	case n == 0 && slices.Equal(s.states, texts(migrator.Failed)):
		return "nothing failed"
	case n == 0 && s.given():
		return nobodySelected
	}
	return "nothing to do: " + count(n, "tenant")
}

// demand refuses a command line that says neither all nor which, or both.
func (s *selection) demand() error {
	switch {
	case s.given() && s.all:
		return usage("--all and a selection exclude each other")
	case !s.given() && !s.all:
		return usage("say which tenants: --tenant, --label, --server, --state, --first, or --all")
	}
	return nil
}

// parse returns the selection that the flags say, by states of the ledger.
func (s *selection) parse() (sel migrator.Selection, err error) {
	for _, state := range s.states {
		if err := oneOf("--state", state, ledgerStates()); err != nil {
			return sel, err
		}
		sel.States = append(sel.States, migrator.State(state))
	}
	return sel, s.rest(&sel)
}

// parseCatalog is parse by states of the catalog, which it returns besides.
func (s *selection) parseCatalog() (sel migrator.Selection, states []catalog.State, err error) {
	for _, state := range s.states {
		if err := oneOf("--state", state, catalogStates()); err != nil {
			return sel, nil, err
		}
		states = append(states, catalog.State(state))
	}
	return sel, states, s.rest(&sel)
}

// rest parses all but the states.
func (s *selection) rest(sel *migrator.Selection) (err error) {
	sel.First, sel.Servers = s.first, s.servers
	if sel.IDs, err = parseTenants(s.tenants); err != nil {
		return err
	}
	sel.Labels, err = parseLabels("--label", s.labels)
	return err
}

func parseTenants(ids []string) (tenants []scope.Tenant, err error) {
	for _, id := range ids {
		t, err := parseTenant(id)
		if err != nil {
			return nil, err
		}
		tenants = append(tenants, t)
	}
	return tenants, nil
}

func parseTenant(id string) (scope.Tenant, error) {
	t, err := scope.Parse(id)
	if err != nil {
		return t, usage("%w", err)
	}
	return t, nil
}

// parseLabels reads key=value. The error names the flag.
func parseLabels(flag string, pairs []string) (map[string]string, error) {
	var labels map[string]string
	for _, pair := range pairs {
		key, value, ok := strings.Cut(pair, "=")
		if !ok || key == "" {
			return nil, usage("%s: %q is not key=value", flag, pair)
		}
		if other, twice := labels[key]; twice && other != value {
			return nil, usage("%s: %s has two values", flag, key)
		}
		if labels == nil {
			labels = map[string]string{}
		}
		labels[key] = value
	}
	return labels, nil
}

// oneOf refuses a flag's value that is none of those that there are.
func oneOf(flag, value string, of []string) error {
	for _, v := range of {
		if v == value {
			return nil
		}
	}
	return usage("%s: %q is none of %s", flag, value, strings.Join(of, ", "))
}

func ledgerStates() []string {
	return texts(migrator.Pending, migrator.Running, migrator.Current, migrator.Failed)
}

func catalogStates() []string {
	return texts(catalog.Provisioning, catalog.Active, catalog.Suspended, catalog.Deleting, catalog.Failed)
}

func texts[S ~string](of ...S) []string {
	all := make([]string, len(of))
	for i, s := range of {
		all[i] = string(s)
	}
	return all
}
