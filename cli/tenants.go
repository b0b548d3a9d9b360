package cli

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tenantry/tenantry/catalog"
	"github.com/tenantry/tenantry/scope"
)

// tenants returns the commands on the catalog.
func (t *tree) tenants() *cobra.Command {
	return t.outputFlag(group("tenants", "Sign tenants up, look at them, change and drop them",
		t.createTenant(), t.listTenants(), t.showTenant(),
		t.turnTenant("suspend", "Stop serving a tenant; its data stays", (*catalog.Catalog).Suspend),
		t.turnTenant("resume", "Serve a suspended tenant again", (*catalog.Catalog).Resume),
		t.renameTenant(), t.dropTenant(), t.hosts(), t.repair()))
}

// tenantView is a tenant as JSON.
type tenantView struct {
	ID        scope.Tenant      `json:"id"`
	Name      string            `json:"name"`
	State     catalog.State     `json:"state"`
	Failure   string            `json:"failure"` // empty unless State is failed
	Kind      catalog.Kind      `json:"kind"`
	Server    string            `json:"server"`
	Database  string            `json:"database"`
	Schema    string            `json:"schema"`
	Role      string            `json:"role"` // empty if it has none
	Hosts     []string          `json:"hosts"`
	Labels    map[string]string `json:"labels"`
	CreatedAt time.Time         `json:"created_at"`
	UpdatedAt time.Time         `json:"updated_at"`
}

func viewTenant(c catalog.Tenant) tenantView {
	v := tenantView{
		ID: c.ID, Name: c.Name, State: c.State, Failure: c.Failure, Kind: c.Kind, Server: c.Server,
		Database: c.Database, Schema: c.Schema, Role: c.Role, Hosts: hostNames(c.Hosts), Labels: c.Labels,
		CreatedAt: c.CreatedAt.UTC(), UpdatedAt: c.UpdatedAt.UTC(),
	}
	if v.Labels == nil {
		v.Labels = map[string]string{}
	}
	return v
}

func hostNames(hosts []catalog.Host) []string {
	names := make([]string, len(hosts))
	for i, h := range hosts {
		names[i] = h.Name
	}
	return names
}

// labelText writes labels as --label takes them.
func labelText(labels map[string]string) string {
	var pairs []string
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		pairs = append(pairs, key+"="+labels[key])
	}
	return strings.Join(pairs, " ")
}

// printTenants prints one line for each tenant.
func (t *tree) printTenants(cmd *cobra.Command, tenants []catalog.Tenant) error {
	views := make([]tenantView, len(tenants))
	for i, c := range tenants {
		views[i] = viewTenant(c)
	}
	return t.print(cmd, views, func(s *sheet) {
		s.row("ID", "NAME", "STATE", "KIND", "SERVER", "DATABASE", "SCHEMA", "HOST", "CREATED")
		for _, v := range views {
			s.row(v.ID.String(), v.Name, string(v.State), string(v.Kind), v.Server, v.Database, v.Schema, strings.Join(v.Hosts[:min(1, len(v.Hosts))], ""), moment(v.CreatedAt))
		}
	})
}

// printTenant prints all that is known of a tenant.
func (t *tree) printTenant(cmd *cobra.Command, c catalog.Tenant) error {
	v := viewTenant(c)
	return t.print(cmd, v, func(s *sheet) {
		for _, line := range [][2]string{
			{"id", v.ID.String()}, {"name", v.Name}, {"state", string(v.State)}, {"failure", v.Failure},
			{"kind", string(v.Kind)}, {"server", v.Server}, {"database", v.Database}, {"schema", v.Schema}, {"role", v.Role},
			{"hosts", strings.Join(v.Hosts, " ")}, {"labels", labelText(v.Labels)},
			{"created", moment(v.CreatedAt)}, {"updated", moment(v.UpdatedAt)},
		} {
			if line[1] != "" {
				s.row(line[0], line[1])
			}
		}
	})
}
