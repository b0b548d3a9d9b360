package main

import (
	"context"
	"database/sql"
	"errors"
	"flag"
	"io"
	"net"

	"github.com/tenantry/tenantry/catalog"
)

// errInterrupted says that the program was stopped before it had shown all.
var errInterrupted = errors.New("stopped before the demonstration was over")

// run is the whole program. It returns when ctx ends or, with -exit, after the
// demonstration, and leaves nothing running.
func run(ctx context.Context, args []string, out io.Writer) error {
	s, err := parseFlags(args)
	if errors.Is(err, flag.ErrHelp) {
		_, err = io.WriteString(out, usage())
		return err
	}
	if err != nil {
		return err
	}
	keys, err := s.keys()
	if err != nil {
		return err
	}
	p := newProgress(out)
	if err := s.listenAndServe(ctx, keys, p); err != nil {
		return err
	}
	p.say("stopped")
	return nil
}

// listenAndServe listens first: a port that is taken shows at once.
func (s *settings) listenAndServe(ctx context.Context, keys catalog.Keys, p *progress) (err error) {
	listener, err := listen(ctx, s.addr)
	if err != nil {
		return interrupted(ctx, err)
	}
	defer listener.Close() // closed twice if it was served; that error says nothing
	logins, stop, err := s.server(ctx, p)
	if err != nil {
		return interrupted(ctx, err)
	}
	defer func() { err = errors.Join(err, stop()) }()
	b, err := open(ctx, logins, keys)
	if err != nil {
		return interrupted(ctx, err)
	}
	defer func() { err = errors.Join(err, b.close()) }()
	return interrupted(ctx, s.serveFrom(ctx, b, listener, p))
}

// serveFrom serves from b, and shows what it does.
func (s *settings) serveFrom(ctx context.Context, b *backend, l net.Listener, p *progress) (err error) {
	if err := b.prepare(ctx, p); err != nil {
		return err
	}
	router, err := newRouter(b)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, router.wait()) }()
	return serve(ctx, l, router, func(ctx context.Context) error {
		d := &demo{progress: p, visitor: visit(l.Addr()), backend: b}
		defer d.close()
		defer router.stop() // before the server waits for its requests
		p.say("serving on http://%s", d.addr)
		if err := d.show(ctx); err != nil || s.exit {
			return err
		}
		d.explain(router.operator.token)
		<-ctx.Done()
		p.say("stopping")
		return nil
	})
}

// interrupted replaces an error that only says that ctx was cancelled. Of a
// transaction, database/sql says so with ErrTxDone.
func interrupted(ctx context.Context, err error) error {
	if ctx.Err() != nil && (errors.Is(err, context.Canceled) || errors.Is(err, sql.ErrTxDone)) {
		return errInterrupted
	}
	return err
}
