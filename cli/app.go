package cli

import (
	"context"
	"errors"
	"log/slog"

	"gorm.io/gorm"

	"github.com/tenantry/tenantry/catalog"
	"github.com/tenantry/tenantry/migrator"
)

// App is the application that the commands work on.
type App struct {
	// Name is the program's, for help texts and errors.
	Name string

	// Open opens what a command needs. It is called once for each command, and for
	// the completion of names, but not for help or for what is refused before: so
	// it should start nothing that a command has no use for. Nothing may be
	// written to standard output, which is the command's: GORM's default logger
	// does, see gorm.Config. ctx ends when the command is interrupted.
	Open func(ctx context.Context) (*Service, error)
}

// Service is what a command works on.
type Service struct {
	// DB has the plugin registered.
	DB *gorm.DB

	// Tenants is the catalog. If it is nil, the application has none, and what
	// needs one says so.
	Tenants *catalog.Catalog

	// Fleet lists the tenants for exec and for completion if there is no catalog.
	// If it is nil, too, exec takes only tenants that are named.
	Fleet migrator.Tenants

	// Migrator returns the application's migrator with opts behind the options of
	// its own. They take its logger away: what a run does, its progress says on
	// standard error, and its error who failed. If it is nil, the application has
	// none, and migrate says so.
	Migrator func(opts ...migrator.Option) *migrator.Migrator

	// Close is called once, at the end of the command, and by psql before the
	// client starts. Nil does nothing.
	Close func() error
}

func (s *Service) close() error {
	if s.Close == nil {
		return nil
	}
	return s.Close()
}

// db returns the database, or an error if there is none.
func (s *Service) db() (*gorm.DB, error) {
	if s.DB == nil {
		return nil, errors.New("cli: Service.DB is nil")
	}
	return s.DB, nil
}

// catalog returns the catalog, or an error if there is none.
func (s *Service) catalog() (*catalog.Catalog, error) {
	if s.Tenants == nil {
		return nil, errors.New("this program has no catalog of tenants")
	}
	return s.Tenants, nil
}

// migrator returns the migrator, or an error if there is none.
func (s *Service) migrator(opts ...migrator.Option) (*migrator.Migrator, error) {
	if s.Migrator == nil {
		return nil, errors.New("this program has no migrations")
	}
	silent := migrator.WithLogger(slog.New(slog.DiscardHandler))
	return s.Migrator(append([]migrator.Option{silent}, opts...)...), nil
}

// open opens the service.
func (t *tree) open(ctx context.Context) (*Service, error) {
	if t.app.Open == nil {
		return nil, errors.New("cli: App.Open is nil")
	}
	s, err := t.app.Open(ctx)
	if err == nil && s == nil {
		err = errors.New("cli: App.Open has returned no Service")
	}
	return s, err
}

// with opens the service for f, and closes it.
func (t *tree) with(ctx context.Context, f func(*Service) error) error {
	s, err := t.open(ctx)
	if err == nil {
		err = errors.Join(f(s), s.close())
	}
	return interrupted(ctx, err)
}

// withCatalog is with for what needs the catalog.
func (t *tree) withCatalog(ctx context.Context, f func(*catalog.Catalog) error) error {
	return t.with(ctx, func(s *Service) error {
		c, err := s.catalog()
		if err != nil {
			return err
		}
		return f(c)
	})
}

// withMigrator is with for what needs the migrator.
func (t *tree) withMigrator(ctx context.Context, f func(*migrator.Migrator) error, opts ...migrator.Option) error {
	return t.with(ctx, func(s *Service) error {
		m, err := s.migrator(opts...)
		if err != nil {
			return err
		}
		return f(m)
	})
}
