package doctor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"gorm.io/gorm"

	"github.com/tenantry/tenantry/catalog"
	"github.com/tenantry/tenantry/plugin"
	"github.com/tenantry/tenantry/scope"
)

const (
	// tries is how many tenants are asked before what they say counts for all
	// that live in the same way on the same server.
	tries = 3
	// answerLimit is how long each of them may take.
	answerLimit = 5 * time.Second
)

// sample is a few tenants that live in the same way on one server.
type sample struct {
	server  string
	kind    catalog.Kind
	tenants []scope.Tenant
}

// refusal is why a tenant's statement failed.
type refusal struct {
	tenant scope.Tenant
	server string
	err    error
}

// samples chooses some of the tenants that are served: there may be thousands. They
// come server by server, schemas before databases.
func (e *exam) samples() (all []sample) {
	for _, t := range e.tenants {
		if t.State != catalog.Active {
			continue
		}
		i := slices.IndexFunc(all, func(s sample) bool { return s.server == t.Server && s.kind == t.Kind })
		if i < 0 {
			i, all = len(all), append(all, sample{server: t.Server, kind: t.Kind})
		}
		if len(all[i].tenants) < tries {
			all[i].tenants = append(all[i].tenants, t.ID)
		}
	}
	slices.SortFunc(all, func(a, b sample) int {
		if by := strings.Compare(a.server, b.server); by != 0 {
			return by
		}
		return strings.Compare(string(b.kind), string(a.kind))
	})
	return all
}

// askServers sends each sample a statement, as the application would, and reads
// what is on the servers that the base pool does not lead to.
func (e *exam) askServers(ctx context.Context) error {
	for _, s := range e.samples() {
		e.ask(ctx, s)
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

// ask ends with the first tenant that gets an answer. A server that is silent keeps
// nobody waiting twice.
func (e *exam) ask(ctx context.Context, s sample) {
	for _, t := range s.tenants {
		err := e.askAs(ctx, s, t)
		if err == nil {
			return
		}
		if errors.Is(err, catalog.ErrUnknown) || errors.Is(err, catalog.ErrSuspended) {
			continue // no longer served
		}
		e.refusals = append(e.refusals, refusal{t, s.server, err})
		if errors.Is(err, context.DeadlineExceeded) {
			return
		}
	}
}

func (e *exam) askAs(ctx context.Context, s sample, t scope.Tenant) error {
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	found := e.others[s.server]
	err := e.db.WithContext(scope.With(ctx, t)).Transaction(func(tx *gorm.DB) error {
		return plugin.WithConn(tx, func(c *pgx.Conn) error {
			switch {
			case s.server == catalog.Main: // the base pool has read it
				_, err := c.Exec(ctx, "select 1")
				return err
			case s.kind == catalog.OwnSchema:
				return found.read(ctx, c)
			}
			return found.readShared(ctx, c)
		})
	})
	if err != nil || s.server == catalog.Main {
		return err
	}
	e.others[s.server] = found
	e.witnesses = append(e.witnesses, sample{s.server, s.kind, []scope.Tenant{t}})
	return nil
}

// readAgain reads once more what is on the servers that have answered.
func (e *exam) readAgain(ctx context.Context) error {
	err := e.onBasePool(ctx, func(c *pgx.Conn) error { return e.here.read(ctx, c) })
	if err != nil {
		return fmt.Errorf("measure what is on the server: %w", err)
	}
	for _, w := range slices.Clone(e.witnesses) {
		if err := e.askAs(ctx, w, w.tenants[0]); err != nil {
			delete(e.others, w.server) // nobody knows
		}
	}
	return nil
}

// servers calls f for each server of which it is known what is there.
func (e *exam) servers(f func(server string, there *objects)) {
	f(catalog.Main, &e.here)
	for name, there := range e.others {
		f(name, &there)
	}
}

// unreachable tells whose statements failed, but for those that were dropped
// meanwhile, and those of whom it is known why.
func (e *exam) unreachable(stayed []catalog.Tenant, lost map[scope.Tenant]bool) {
	var names []string
	var last error
	for _, r := range e.refusals {
		stays := slices.ContainsFunc(stayed, func(t catalog.Tenant) bool { return t.ID == r.tenant })
		if stays && !lost[r.tenant] {
			names, last = append(names, r.tenant.String()+onServer(r.server)), r.err
		}
	}
	if len(names) == 0 {
		return
	}
	e.find(Finding{
		ID: "tenant-unreachable", Severity: Problem,
		What: fmt.Sprintf("Statements of tenants fail: %s. The last error: %v. Up to %d tenants with schemas and %d with databases were tried on each server.", some(names), last, tries, tries),
		Why:  "Every request of these tenants fails, and may of all others that live on the same server.",
		How:  "Mend what the error says. A server that is down has to be started; one with another address or login is Catalog.ChangeServer's to know; a schema or database that is gone has to be restored from a backup, under the same name.",
	})
}

// onServer says where something is, unless it is where one would look.
func onServer(name string) string {
	if name == catalog.Main {
		return ""
	}
	return " (server " + name + ")"
}
