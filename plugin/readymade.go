package plugin

import (
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
)

// readLimit bounds the connection that the configuration is read from.
const readLimit = 10 * time.Second

// configOfPool returns the configuration of a *sql.DB that GORM was given ready-made. The
// plugin opens connections of its own with it, so everything that happens when a
// connection of pool is opened or used must be in the configuration. Hooks of a pgxpool
// are; functions that were given to pgx's stdlib are not, and are refused: a token that
// such a function fetches would never be fetched for the plugin's connections.
func configOfPool(pool *sql.DB) (*pgxpool.Config, error) {
	below, err := poolBelow(pool)
	if err != nil {
		return nil, err
	}
	if below != nil {
		return below.Config(), nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), readLimit)
	defer cancel()
	conn, err := pool.Conn(ctx)
	if err != nil {
		return nil, fmt.Errorf("plugin: connect to read the configuration: %w", err)
	}
	var cfg *pgxpool.Config
	err = conn.Raw(func(driverConn any) error {
		std, ok := driverConn.(*stdlib.Conn)
		if !ok {
			return fmt.Errorf("the pool's driver connection is %T, not pgx's *stdlib.Conn: open the *sql.DB with pgx", driverConn)
		}
		if cfg, err = pgxpool.ParseConfig(""); err == nil {
			cfg.ConnConfig = std.Conn().Config()
		}
		return err
	})
	if err = errors.Join(err, conn.Close()); err != nil {
		return nil, fmt.Errorf("plugin: %w", err)
	}
	return cfg, nil
}

// instead says what to do about a *sql.DB that can't be taken over.
const instead = "open GORM with a connection string, and use plugin.WithPoolConfig for hooks and credentials of each connection"

// poolBelow returns the pgxpool that a *sql.DB is made of, or nil if pgx opens each of its
// connections by a connection string or a configuration. Everything else is an error. What
// a *sql.DB is made of only shows in unexported fields, so whatever does not look as in
// the version of pgx that this package knows is an error, too.
func poolBelow(pool *sql.DB) (*pgxpool.Pool, error) {
	field := reflect.ValueOf(pool).Elem().FieldByName("connector")
	if !field.IsValid() || field.Kind() != reflect.Interface || field.IsNil() {
		return nil, errors.New("plugin: this version of database/sql hides what the *sql.DB is made of: " + instead)
	}
	connector := field.Elem()
	byName, err := nameConnector()
	if err != nil {
		return nil, err
	}
	switch connector.Type() {
	case byName: // sql.Open("pgx", dsn)
		return nil, nil
	case reflect.TypeOf(stdlib.GetConnector(pgx.ConnConfig{})):
	default:
		return nil, fmt.Errorf("plugin: the *sql.DB opens its connections by %s, and not as pgx's stdlib does (stdlib.Conn), so the plugin can't open its own in the same way: %s", connector.Type(), instead)
	}
	usual := reflect.ValueOf(stdlib.GetConnector(pgx.ConnConfig{}))
	own := connector.FieldByName("pool")
	if !own.IsValid() || own.Type() != reflect.TypeFor[*pgxpool.Pool]() {
		return nil, errors.New("plugin: this version of pgx hides what its connector is made of: " + instead)
	}
	below := (*pgxpool.Pool)(own.UnsafePointer())
	if below != nil {
		usual = reflect.ValueOf(stdlib.GetPoolConnector(below))
	}
	for i := range connector.NumField() {
		name := connector.Type().Field(i).Name
		switch {
		case connector.Field(i).Kind() == reflect.Func:
			if connector.Field(i).Pointer() != usual.Field(i).Pointer() {
				return nil, fmt.Errorf("plugin: the *sql.DB was opened with stdlib.Option%s, and the plugin's own connections would go without it: %s", name, instead)
			}
		case name != "ConnConfig" && name != "pool" && name != "driver":
			return nil, fmt.Errorf("plugin: the *sql.DB was opened with something that this version of the plugin does not know (%s): %s", name, instead)
		}
	}
	return below, nil
}

// nameConnector returns the type of the connectors of sql.Open("pgx", dsn).
func nameConnector() (reflect.Type, error) {
	driver, ok := stdlib.GetDefaultDriver().(sqldriver.DriverContext)
	if !ok {
		return nil, errors.New("plugin: this version of pgx opens connections in a way that the plugin does not know: " + instead)
	}
	c, err := driver.OpenConnector("")
	if err != nil {
		return nil, fmt.Errorf("plugin: %w", err)
	}
	return reflect.TypeOf(c), nil
}
