package driver

import (
	"errors"

	"github.com/jackc/pgx/v5/pgxpool"
)

var errUnparsed = errors.New("the connection string can't be parsed, and isn't shown because it may hold a password: try it with psql")

// ParseConfig is pgxpool.ParseConfig without its errors: they quote the connection
// string, and hide the password only where they find it.
func ParseConfig(dsn string) (*pgxpool.Config, error) {
	cfg, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		return nil, errUnparsed
	}
	return cfg, nil
}
