package cli

import (
	"github.com/jackc/pgx/v5"

	"github.com/tenantry/tenantry/internal/driver"
)

// Environment returns the environment of psql.
func Environment(c *pgx.ConnConfig, settings []driver.Setting) []string {
	return environment(c, settings)
}

// Keywords returns what a connection string says.
func Keywords(connString string) map[string]string { return keywords(connString) }

// Printable returns text as it is printed.
func Printable(text string) string { return printable(text) }

// JSONValue returns a value of a type as JSON.
func JSONValue(oid uint32, v []byte) any { return jsonValue(oid, v) }
