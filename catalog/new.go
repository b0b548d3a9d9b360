package catalog

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"maps"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/tenantry/tenantry/scope"
)

// New is what [Catalog.Create] needs to know of a new tenant. Only the ID must be
// given.
type New struct {
	// ID is the tenant's for ever: 1 to 48 characters of a-z, 0-9, '_' and '-', a
	// letter first.
	ID string

	// Name is for people, at most 200 printable characters. The default is the ID.
	Name string

	// Hosts are the names under which the tenant is served: subdomains, such as
	// "acme", and full domains, such as "portal.acme.example". The first is the
	// primary one. The default is the ID as a subdomain, with '-' for '_'.
	Hosts []string

	// Kind is OwnSchema, the default, or OwnDatabase.
	Kind Kind

	// Server is the name of the server on which the tenant is to live. The default
	// is chosen by [WithServerChoice].
	Server string

	// Labels are for selection: at most 32, keys and values of at most 200 bytes.
	Labels map[string]string
}

// limits of what is stored.
const (
	maxName   = 200
	maxHosts  = 100
	maxLabels = 32
	maxLabel  = 200
)

// draft checks n and returns the row that it makes, still without a place.
func (c *Catalog) draft(n New) (*tenantRow, error) {
	t, err := scope.Parse(n.ID)
	if err != nil {
		return nil, invalid("id", n.ID, "it is 1 to 48 characters of a-z, 0-9, '_' and '-', a letter first")
	}
	if c.names.covers(n.ID) {
		return nil, &InputError{Field: "id", Value: n.ID, Err: ErrReserved}
	}
	row := &tenantRow{ID: t.String(), Name: n.Name, State: Provisioning, Kind: n.Kind, Labels: map[string]string{}}
	maps.Copy(row.Labels, n.Labels)
	if n.Name == "" {
		row.Name = n.ID
	}
	if row.Kind == "" {
		row.Kind = OwnSchema
	}
	if row.Kind != OwnSchema && row.Kind != OwnDatabase {
		return nil, invalid("kind", string(n.Kind), "it is neither OwnSchema nor OwnDatabase")
	}
	hosts := n.Hosts
	if len(hosts) == 0 {
		hosts = []string{strings.ReplaceAll(n.ID, "_", "-")}
	}
	if row.Hosts, err = c.hosts(t, hosts); err != nil {
		return nil, err
	}
	if err := checkName(row.Name); err != nil {
		return nil, err
	}
	return row, checkLabels(n.Labels)
}

// hosts returns the rows for a tenant's hosts, the primary one first.
func (c *Catalog) hosts(t scope.Tenant, names []string) ([]hostRow, error) {
	if len(names) > maxHosts {
		return nil, invalid("host", "", fmt.Sprintf("a tenant has at most %d", maxHosts))
	}
	rows := make([]hostRow, 0, len(names))
	seen := map[string]bool{}
	for _, name := range names {
		host, err := ParseHost(name)
		switch {
		case err != nil:
			return nil, invalid("host", name, err.Error())
		case c.names.covers(host.Name):
			return nil, &InputError{Field: "host", Value: name, Err: ErrReserved}
		case seen[host.Name]:
			return nil, invalid("host", name, "it is given twice")
		}
		seen[host.Name] = true
		rows = append(rows, hostRow{Name: host.Name, Tenant: t.String(), IsPrimary: len(rows) == 0})
	}
	return rows, nil
}

func checkName(name string) error {
	if utf8.RuneCountInString(name) > maxName || !utf8.ValidString(name) || strings.TrimSpace(name) == "" || strings.ContainsFunc(name, notPrintable) {
		return invalid("name", name, fmt.Sprintf("it is 1 to %d printable characters", maxName))
	}
	return nil
}

func notPrintable(r rune) bool { return !unicode.IsPrint(r) }

func checkLabels(labels map[string]string) error {
	if len(labels) > maxLabels {
		return invalid("labels", "", fmt.Sprintf("a tenant has at most %d", maxLabels))
	}
	for key, value := range labels {
		bad := key == "" || len(key) > maxLabel || len(value) > maxLabel || !utf8.ValidString(key+value) || strings.ContainsRune(key+value, 0)
		if bad {
			return invalid("labels", key, fmt.Sprintf("keys and values are text of at most %d bytes, keys of at least 1", maxLabel))
		}
	}
	return nil
}

// settle gives the row its place: a server, and a name that nothing ever had
// before.
func (row *tenantRow) settle(server serverRow, name string, withRole bool) {
	row.ServerName, row.Cluster, row.Server = server.Name, server.Cluster, server
	if row.Kind == OwnDatabase {
		row.Database, row.Schema, row.Role = name, "public", &name
		return
	}
	row.Database, row.Schema = server.Database, name
	if withRole {
		row.Role = &name
	}
}

// newName returns a name for a tenant's schema, database or role: the id and a
// random suffix. It is never used again, so that nothing that remembers a tenant
// that is gone can reach a later one of the same id. PostgreSQL keeps names that
// begin with pg_ for itself.
func newName(id string) string {
	random := make([]byte, 3)
	_, _ = rand.Read(random) // never fails
	name := strings.ReplaceAll(id, "-", "_")
	if strings.HasPrefix(name, "pg_") {
		name = "t_" + name
	}
	return name + "_" + hex.EncodeToString(random)
}
