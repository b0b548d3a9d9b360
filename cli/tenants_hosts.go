package cli

import (
	"context"
	"slices"

	"github.com/spf13/cobra"

	"github.com/tenantry/tenantry/catalog"
	"github.com/tenantry/tenantry/scope"
)

// hostsView is a tenant's hosts as JSON.
type hostsView struct {
	Tenant scope.Tenant `json:"tenant"`
	Hosts  []hostView   `json:"hosts"` // the primary one first
}

type hostView struct {
	Name    string `json:"name"`
	Domain  bool   `json:"domain"` // a full domain; otherwise a subdomain of the service
	Primary bool   `json:"primary"`
}

// hostChange is what the flags of hosts say.
type hostChange struct {
	add, remove []string
	primary     string
}

func (h *hostChange) isZero() bool { return len(h.add)+len(h.remove) == 0 && h.primary == "" }

// hosts returns the command that shows a tenant's hosts, and changes them.
func (t *tree) hosts() *cobra.Command {
	var change hostChange
	cmd := &cobra.Command{
		Use: "hosts TENANT", Short: "Show under which hosts a tenant is served, and change them",
		Args: wants("TENANT"), ValidArgsFunction: t.completeOne(tenantIDs),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := parseTenant(args[0])
			if err != nil {
				return err
			}
			return t.withCatalog(cmd.Context(), func(c *catalog.Catalog) error {
				if err := change.make(cmd.Context(), c, id); err != nil {
					return err
				}
				return t.printHosts(cmd, c, id)
			})
		},
	}
	f := cmd.Flags()
	f.StringSliceVar(&change.add, "add", nil, "serve the tenant under this `host`, too; may be repeated")
	f.StringSliceVar(&change.remove, "remove", nil, "no longer serve it under this `host`; may be repeated")
	f.StringVar(&change.primary, "primary", "", "make this one of its hosts the primary `host`")
	return cmd
}

// make changes the tenant's hosts. Of two calls at a time for one tenant the later
// one wins.
func (h *hostChange) make(ctx context.Context, c *catalog.Catalog, id scope.Tenant) error {
	if h.isZero() {
		return nil
	}
	tenant, err := c.Get(ctx, id)
	if err != nil {
		return err
	}
	names, err := h.apply(hostNames(tenant.Hosts))
	if err != nil {
		return err
	}
	return c.Rename(ctx, id, "", names...)
}

// apply returns names changed.
func (h *hostChange) apply(names []string) ([]string, error) {
	for _, name := range h.remove {
		host, err := parseHost(name)
		at := slices.Index(names, host)
		if err == nil && at < 0 {
			err = usage("--remove: the tenant has no host %s", host)
		}
		if err != nil {
			return nil, err
		}
		names = slices.Delete(names, at, at+1)
	}
	for _, name := range h.add {
		host, err := parseHost(name)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(names, host) {
			names = append(names, host)
		}
	}
	if len(names) == 0 { // none would leave them all
		return nil, usage("--remove: a tenant has at least one host")
	}
	return h.order(names)
}

// order puts the primary host first.
func (h *hostChange) order(names []string) ([]string, error) {
	if h.primary == "" {
		return names, nil
	}
	host, err := parseHost(h.primary)
	if err != nil {
		return nil, err
	}
	at := slices.Index(names, host)
	if at < 0 {
		return nil, usage("--primary: the tenant has no host %s: give it by --add, too", host)
	}
	return append([]string{host}, slices.Delete(names, at, at+1)...), nil
}

// parseHost returns a host as the catalog writes it.
func parseHost(name string) (string, error) {
	host, err := catalog.ParseHost(name)
	if err != nil {
		return "", usage("host %q: %w", name, err)
	}
	return host.Name, nil
}

func (t *tree) printHosts(cmd *cobra.Command, c *catalog.Catalog, id scope.Tenant) error {
	tenant, err := c.Get(cmd.Context(), id)
	if err != nil {
		return err
	}
	v := hostsView{Tenant: id, Hosts: make([]hostView, len(tenant.Hosts))}
	for i, h := range tenant.Hosts {
		v.Hosts[i] = hostView{Name: h.Name, Domain: h.Domain, Primary: i == 0}
	}
	return t.print(cmd, v, func(s *sheet) {
		s.row("HOST", "KIND", "PRIMARY")
		for _, h := range v.Hosts {
			s.row(h.Name, choose(h.Domain, "domain", "subdomain"), choose(h.Primary, "yes", ""))
		}
	})
}

func choose(first bool, a, b string) string {
	if first {
		return a
	}
	return b
}
