package migrator_test

import (
	"bytes"
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/go-gormigrate/gormigrate/v2"
	"gorm.io/gorm"

	"github.com/tenantry/tenantry/internal/pgserver/dsn"
	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
	"github.com/tenantry/tenantry/migrator"
	"github.com/tenantry/tenantry/plugin"
	"github.com/tenantry/tenantry/scope"
)

// moment is when a cutter cuts.
type moment string

const (
	beforeServer moment = "before the server gets the message"
	beforeAnswer moment = "when the server has answered it"
)

// cutter stands in front of a server and cuts one connection, once, at the first
// message after which the words were, in this order, in what the client has sent.
type cutter struct {
	when  moment
	words []string
	cut   atomic.Bool
	open  sync.WaitGroup
}

// start returns server's connection string through the cutter.
func (c *cutter) start(t *testing.T, server string) string {
	t.Helper()
	network, target, err := dsn.Address(server)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c.open.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			c.open.Go(func() { c.serve(client, network, target) })
		}
	})
	t.Cleanup(func() { // after the pools are closed
		_ = l.Close()
		c.open.Wait()
	})
	through, err := dsn.WithAddress(server, l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return through
}

// serve forwards one connection until it ends, or is cut.
func (c *cutter) serve(client net.Conn, network, target string) {
	defer client.Close()
	server, err := net.Dial(network, target)
	if err != nil {
		return
	}
	var cutting atomic.Bool
	answered := make(chan struct{})
	c.open.Go(func() {
		defer close(answered)
		defer client.Close()
		forward(server, client, func([]byte) bool { return !cutting.Load() })
	})
	missing := c.words
	forward(client, server, func(message []byte) bool {
		for len(missing) > 0 && bytes.Contains(message, []byte(missing[0])) {
			missing = missing[1:]
		}
		if len(missing) > 0 || c.cut.Swap(true) {
			return true
		}
		cutting.Store(true)
		return c.when == beforeAnswer
	})
	if cutting.Load() && c.when == beforeAnswer {
		<-answered
	}
	_ = server.Close()
}

// forward copies from one connection to the other as long as pass says so.
func forward(from, to net.Conn, pass func([]byte) bool) {
	buf := make([]byte, 1<<16)
	for {
		n, err := from.Read(buf)
		if err != nil || !pass(buf[:n]) {
			return
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

// onBothSides calls f for each moment at which a message can be lost.
func onBothSides(t *testing.T, f func(*testing.T, moment)) {
	t.Helper()
	for _, when := range []moment{beforeServer, beforeAnswer} {
		t.Run(strings.ReplaceAll(string(when), " ", "-"), func(t *testing.T) {
			t.Parallel()
			f(t, when)
		})
	}
}

// TestACommitWithoutAnAnswerIsLookedInto: whether it took effect or not, the tenant has
// the migration once, and the run that did it is the one to undo it.
func TestACommitWithoutAnAnswerIsLookedInto(t *testing.T) {
	t.Parallel()
	onBothSides(t, func(t *testing.T, when moment) {
		server := pgtest.Database(t)
		c := cutter{when: when, words: []string{"cut me", "commit\x00"}}
		db, pool, list := open(t, c.start(t, server), plugin.BySchema()), admin(t, server), many(t, 3)
		if _, err := migrator.New(db, list, two[:1], silent).Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		var calls atomic.Int64
		migrations := slices.Clone(undoable)
		migrations[1] = &gormigrate.Migration{ID: "0002", Rollback: undoable[1].Rollback, Migrate: func(tx *gorm.DB) error {
			if tenant, err := scope.From(tx.Statement.Context); err != nil || tenant == list[1] {
				calls.Add(1)
				return errors.Join(err, tx.Exec("alter table invoices add column title text; select 'cut me'").Error)
			}
			return undoable[1].Migrate(tx)
		}}
		m := migrator.New(db, list, migrations, silent)
		report, err := m.Run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		checkApplied(t, report, list, "0002")
		want := map[moment]int64{beforeServer: 2, beforeAnswer: 1}[when]
		if !c.cut.Load() || calls.Load() != want {
			t.Errorf("cut %t, the migration was called %d times, want %d", c.cut.Load(), calls.Load(), want)
		}
		if n := ask[int](t, pool, "select count(*)::int from tenant_t01.migrations where id = '0002'"); n != 1 {
			t.Errorf("it is recorded %d times", n)
		}
		if report, err := m.Run(t.Context()); err != nil || report.Run != 0 {
			t.Errorf("there is still something to do: run %d, %v", report.Run, err)
		}
		if _, err := m.RollbackRun(t.Context(), report.Run); err != nil {
			t.Error(err)
		}
		if left := ask[int](t, pool, titles); left > 0 {
			t.Errorf("%d tenants still have what the run applied", left)
		}
	})
}

// TestAClaimWithoutAnAnswerIsMadeAgain: what it took and nobody knows of is not left
// undone, nor does the run wait for it.
func TestAClaimWithoutAnAnswerIsMadeAgain(t *testing.T) {
	t.Parallel()
	for name, opts := range map[string][]migrator.RunOption{"all": nil, "canaries first": {migrator.Canary(migrator.Selection{First: 2})}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			onBothSides(t, func(t *testing.T, when moment) {
				server := pgtest.Database(t)
				db, list := open(t, server, plugin.BySchema()), many(t, 20)
				if _, err := migrator.New(db, list, two[:1], silent).Run(t.Context()); err != nil {
					t.Fatal(err)
				}
				c := cutter{when: when, words: []string{"for update of l skip locked"}}
				m := migrator.New(open(t, c.start(t, server), plugin.BySchema()), list, two, silent)
				report, err := m.Run(t.Context(), opts...)
				if err != nil || !c.cut.Load() {
					t.Fatalf("cut %t, %v", c.cut.Load(), err)
				}
				checkApplied(t, report, list, "0002")
				pool := admin(t, server)
				if n := ask[int](t, pool, "select count(*)::int from tenantry.results where run = $1 and applied ? '0002'", report.Run); n != len(list) {
					t.Errorf("the run is credited with %d tenants", n)
				}
				if state := ask[string](t, pool, "select state from tenantry.runs where id = $1", report.Run); state != "done" {
					t.Errorf("the run is %s", state)
				}
			})
		})
	}
}

// TestAClaimOnABrokenConnectionIsMadeAgain: the server ends all connections to the
// ledger that do nothing.
func TestAClaimOnABrokenConnectionIsMadeAgain(t *testing.T) {
	t.Parallel()
	server := pgtest.Database(t)
	db, pool, list := open(t, server, plugin.BySchema()), admin(t, server), many(t, 20)
	ended := atomic.Int64{}
	migrations := append(slices.Clone(two), &gormigrate.Migration{ID: "0003", Migrate: func(*gorm.DB) error {
		ended.Add(ask[int64](t, pool, "select count(pg_terminate_backend(pid)) from pg_stat_activity where datname = current_database() and state = 'idle' and query like '%tenantry.ledger%' and query not like '%terminate%'"))
		return nil
	}})
	report, err := migrator.New(db, list, migrations, silent).Run(t.Context())
	if err != nil || ended.Load() == 0 {
		t.Fatalf("%d connections ended, %v", ended.Load(), err)
	}
	checkApplied(t, report, list, "0001", "0002", "0003")
}
