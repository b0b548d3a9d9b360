package main

import (
	"context"
	"errors"
	"fmt"
)

// field is all patterns, open for one number of tenants.
type field struct {
	runners []*competitor // those that run; plain GORM first
	absent  []absence
}

// absence is a pattern that does not run.
type absence struct {
	kind kind
	why  string
}

// open opens the patterns. What it returns is closed by its caller, even on an error.
func (r *runner) open(ctx context.Context, l *line, n int) (*field, error) {
	f := &field{}
	if err := r.host.quiet(ctx); err != nil {
		return f, err
	}
	for _, k := range r.kinds {
		if r.leftOut(k, n) {
			f.absent = append(f.absent, absence{k, fmt.Sprintf("as with %d databases", r.databases)})
			continue
		}
		s := r.site(k, n, l)
		c := &competitor{kind: k, pattern: k.build(), app: s.app, tenants: s.tenants}
		err := c.pattern.open(ctx, s)
		if errors.Is(err, errOutOfConnections) {
			f.absent = append(f.absent, absence{k, err.Error()})
			if err := c.pattern.close(); err != nil {
				return f, err
			}
			continue
		}
		f.runners = append(f.runners, c)
		if err != nil {
			return f, fmt.Errorf("bench: open %s: %w", k.name, err)
		}
	}
	return f, nil
}

func (f *field) close() (err error) {
	for _, c := range f.runners {
		err = errors.Join(err, c.pattern.close())
	}
	return err
}
