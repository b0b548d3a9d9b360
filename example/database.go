package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"strconv"

	"github.com/jackc/pgx/v5"

	"github.com/tenantry/tenantry/internal/pgserver"
	"github.com/tenantry/tenantry/internal/pgserver/dsn"
)

// logins are the two connection strings of the service: the catalog administers, and
// GORM serves. See docs/security.md.
type logins struct {
	admin, serving string
	role           string // who serves; empty if both are one
}

// server returns the logins to the database to use, and what stops its server.
func (s *settings) server(ctx context.Context, p *progress) (l logins, stop func() error, err error) {
	if s.dsn != "" {
		l, err := s.given(p)
		return l, func() error { return nil }, err
	}
	p.say("starting a private PostgreSQL")
	server, err := pgserver.Start(ctx, pgserver.WithLog(func(line string) { p.say("  %s", line) }))
	if err != nil {
		return logins{}, nil, err
	}
	l = logins{admin: server.DSN(), serving: server.DSN()}
	if s.private() {
		l, err = split(ctx, server.DSN())
	}
	if err != nil {
		return logins{}, nil, errors.Join(err, server.Stop())
	}
	return l, server.Stop, nil
}

// given returns the logins that the command line names.
func (s *settings) given(p *progress) (logins, error) {
	l := logins{admin: s.dsn, serving: s.dsn}
	config, err := dsn.Parse(s.dsn)
	if err == nil && s.servingDSN != "" {
		l.serving = s.servingDSN
		config, err = dsn.Parse(s.servingDSN)
		l.role = config.User
	}
	if err == nil {
		p.say("using database %q on %s; what customers get there stays", config.Database, config.Host)
	}
	return l, err
}

// split makes the two logins and a database on a new server, as its superuser.
func split(ctx context.Context, super string) (l logins, err error) {
	config, err := dsn.Parse(super)
	if err != nil {
		return l, err
	}
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return l, err
	}
	defer conn.Close(ctx)
	adminPassword, servingPassword := rand.Text(), rand.Text()
	for _, sql := range []string{
		"create role app_admin login createrole createdb password '" + adminPassword + "'",
		"create role app login noinherit password '" + servingPassword + "'",
		"create database myservice owner app_admin",
		"revoke connect, temporary on database myservice from public",
		"grant connect, temporary on database myservice to app",
	} {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return l, fmt.Errorf("set up two logins: %w", err)
		}
	}
	address := net.JoinHostPort(config.Host, strconv.Itoa(int(config.Port)))
	return logins{
		admin:   dsn.URL(address, "app_admin", adminPassword, "myservice"),
		serving: dsn.URL(address, "app", servingPassword, "myservice"),
		role:    "app",
	}, nil
}
