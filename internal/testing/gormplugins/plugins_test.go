package gormplugins_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/go-gorm/caches/v4"
	"github.com/jackc/pgx/v5"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"
	"gorm.io/plugin/dbresolver"
	"gorm.io/plugin/opentelemetry/tracing"

	"github.com/tenantry/tenantry/internal/pgproxy"
	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
	"github.com/tenantry/tenantry/plugin"
	"github.com/tenantry/tenantry/scope"
)

// Note is the model of these tests.
type Note struct {
	ID   int64
	Text string
	Tags []Tag
}

// Tag belongs to a note.
type Tag struct {
	ID     int64
	NoteID int64
	Text   string
}

// database returns a database with the tenants a and b, who have a note each that is
// called like them; another note stands in public.
func database(t *testing.T) string {
	t.Helper()
	dsn := pgtest.Database(t)
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	for schema, text := range map[string]string{"tenant_a": "a", "tenant_b": "b", "public": "public"} {
		for _, statement := range []string{"create schema if not exists " + schema, "create table " + schema + ".notes (id bigserial primary key, text text)",
			"create table " + schema + ".tags (id bigserial primary key, note_id bigint, text text)",
			"insert into " + schema + ".notes (text) values ('" + text + "')", "insert into " + schema + ".tags (note_id, text) values (1, '" + text + "')"} {
			if _, err := conn.Exec(t.Context(), statement); err != nil {
				t.Fatalf("%s: %v", statement, err)
			}
		}
	}
	return dsn
}

// open opens GORM on a connection string or on a ready-made pool.
func open(t *testing.T, dsn string, lent, prepare bool) *gorm.DB {
	t.Helper()
	dialector := postgres.Open(dsn)
	if lent {
		pool, err := sql.Open("pgx", dsn)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = pool.Close() })
		dialector = postgres.New(postgres.Config{Conn: pool})
	}
	db, err := gorm.Open(dialector, &gorm.Config{Logger: logger.Discard, PrepareStmt: prepare})
	if err != nil {
		t.Fatal(err)
	}
	return db
}

func as(t *testing.T, id string) context.Context {
	t.Helper()
	tenant, err := scope.Parse(id)
	if err != nil {
		t.Fatal(err)
	}
	return scope.With(t.Context(), tenant)
}

// each runs a test with GORM opened in each way.
func each(t *testing.T, test func(t *testing.T, lent, prepare bool)) {
	t.Helper()
	for _, lent := range []bool{false, true} {
		for _, prepare := range []bool{false, true} {
			t.Run(fmt.Sprintf("ready-made %t, PrepareStmt %t", lent, prepare), func(t *testing.T) {
				t.Parallel()
				test(t, lent, prepare)
			})
		}
	}
}

// statements returns ways to reach the database, with the texts that they have read.
func statements() map[string]func(db *gorm.DB) ([]string, error) {
	find := func(db *gorm.DB) ([]string, error) {
		var notes []Note
		err := db.Preload("Tags").Find(&notes).Error
		texts := []string{}
		for _, n := range notes {
			texts = append(texts, n.Text)
			for _, tag := range n.Tags {
				texts = append(texts, tag.Text)
			}
		}
		return texts, err
	}
	begin := func(db *gorm.DB) ([]string, error) {
		tx := db.Begin()
		if tx.Error != nil {
			return nil, tx.Error
		}
		texts, err := find(tx)
		return texts, errors.Join(err, tx.Rollback().Error)
	}
	transaction := func(db *gorm.DB) (texts []string, err error) {
		err = db.Transaction(func(tx *gorm.DB) error {
			return tx.Transaction(func(tx *gorm.DB) error {
				texts, err = find(tx)
				return err
			})
		})
		return texts, err
	}
	all := map[string]func(db *gorm.DB) ([]string, error){
		"Find": find, "Begin": begin, "Transaction": transaction,
		"Create": func(db *gorm.DB) ([]string, error) {
			return nil, db.Create(&Note{Text: "new", Tags: []Tag{{Text: "new"}}}).Error
		},
		"Update": func(db *gorm.DB) ([]string, error) {
			return nil, db.Model(&Note{}).Where("id > 0").Update("text", "updated").Error
		},
		"Delete": func(db *gorm.DB) ([]string, error) { return nil, db.Where("id > 0").Delete(&Tag{}).Error },
		"Raw": func(db *gorm.DB) (texts []string, err error) {
			err = db.Raw("select text from notes").Scan(&texts).Error
			return texts, err
		},
		"Exec": func(db *gorm.DB) ([]string, error) {
			return nil, db.Exec("insert into notes (text) values ('new')").Error
		},
		"Row": func(db *gorm.DB) ([]string, error) {
			var s string
			err := db.Raw("select text from notes").Row().Scan(&s)
			return []string{s}, err
		},
		"Rows": func(db *gorm.DB) ([]string, error) {
			rows, err := db.Model(&Note{}).Rows()
			if err != nil {
				return nil, err
			}
			return nil, errors.Join(rows.Err(), rows.Close())
		},
		"Pluck": func(db *gorm.DB) (texts []string, err error) {
			err = db.Model(&Note{}).Pluck("text", &texts).Error
			return texts, err
		},
		"Count": func(db *gorm.DB) ([]string, error) { return nil, db.Model(&Note{}).Count(new(int64)).Error },
		"FindInBatches": func(db *gorm.DB) ([]string, error) {
			return nil, db.FindInBatches(&[]Note{}, 1, func(*gorm.DB, int) error { return nil }).Error
		},
		"Connection": func(db *gorm.DB) (texts []string, err error) {
			err = db.Connection(func(tx *gorm.DB) error {
				texts, err = find(tx)
				return err
			})
			return texts, err
		},
		"associations": func(db *gorm.DB) ([]string, error) {
			return nil, db.Model(&Note{ID: 1}).Association("Tags").Append(&Tag{Text: "new"})
		},
		"generics": func(db *gorm.DB) ([]string, error) {
			notes, err := gorm.G[Note](db).Find(db.Statement.Context)
			texts := []string{}
			for _, n := range notes {
				texts = append(texts, n.Text)
			}
			return texts, err
		},
	}
	for name, c := range map[string]dbresolverClause{"Write": dbresolver.Write, "Read": dbresolver.Read} {
		for _, base := range []string{"Find", "Begin", "Transaction", "Create", "Connection"} {
			run := all[base]
			all[name+", "+base] = func(db *gorm.DB) ([]string, error) { return run(db.Clauses(c)) }
			all[name+", prepared, "+base] = func(db *gorm.DB) ([]string, error) {
				return run(db.Clauses(c).Session(&gorm.Session{PrepareStmt: true}))
			}
		}
	}
	for _, base := range []string{"Find", "Begin", "Transaction", "Create"} {
		run := all[base]
		all["Use, "+base] = func(db *gorm.DB) ([]string, error) { return run(db.Clauses(dbresolver.Use("other"))) }
	}
	for _, base := range []string{"Find", "Begin", "Transaction", "Create", "Connection", "Exec"} {
		run := all[base]
		all["prepared, "+base] = func(db *gorm.DB) ([]string, error) { return run(db.Session(&gorm.Session{PrepareStmt: true})) }
	}
	return all
}

// dbresolverClause is a clause that chooses at once.
type dbresolverClause = dbresolver.Operation

// mustRefuse runs all statements with a tenant and without: none succeeds in reaching a
// foreign pool.
func mustRefuse(t *testing.T, db *gorm.DB, foreign *pgproxy.Proxy) {
	t.Helper()
	sent := foreign.BytesToServer()
	for _, ctx := range []context.Context{as(t, "a"), t.Context(), scope.Shared(t.Context())} {
		for name, run := range statements() {
			texts, err := run(db.WithContext(ctx))
			if err == nil {
				t.Errorf("%s read %q and no error", name, texts)
			} else if !errors.Is(err, scope.ErrNone) && (!errors.Is(err, plugin.ErrForeignPool) || !strings.Contains(err.Error(), "dbresolver")) {
				t.Errorf("%s: got error %v, want one that names dbresolver", name, err)
			}
			if slices.Contains(texts, "public") {
				t.Errorf("%s read a row of the foreign pool", name)
			}
			if n := foreign.BytesToServer(); n != sent {
				t.Errorf("%s: %d bytes have reached the foreign pool", name, n-sent)
				sent = n
			}
		}
	}
	pool, err := db.DB()
	if err != nil {
		t.Fatal(err)
	}
	if n := pool.Stats().InUse; n != 0 {
		t.Errorf("%d connections are still in use", n)
	}
}

// texts returns what stands in a schema's notes.
func texts(t *testing.T, dsn, schema string) []string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	rows, err := conn.Query(t.Context(), "select text from "+schema+".notes order by id")
	if err != nil {
		t.Fatal(err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func resolver(foreign *pgproxy.Proxy, dsn string, source bool) *dbresolver.DBResolver {
	replicas := []gorm.Dialector{postgres.Open(foreign.DSN(dsn))}
	config := dbresolver.Config{Replicas: replicas}
	if source {
		config.Sources = replicas
	}
	return dbresolver.Register(config).Register(dbresolver.Config{Replicas: replicas}, "other")
}

func mustNameResolver(t *testing.T, err error) {
	t.Helper()
	if !errors.Is(err, plugin.ErrForeignPool) {
		t.Fatalf("got error %v, want ErrForeignPool", err)
	}
	for _, word := range []string{"gorm.io/plugin/dbresolver", "second *gorm.DB"} {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("error %q does not say %q", err, word)
		}
	}
}

func TestDBResolverBeforeThePluginIsRefused(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, lent, prepare bool) {
		dsn := database(t)
		foreign := pgproxy.Start(t, dsn)
		db := open(t, dsn, lent, prepare)
		if err := db.Use(resolver(foreign, dsn, false)); err != nil {
			t.Fatal(err)
		}
		mustNameResolver(t, db.Use(plugin.New(plugin.BySchema())))
	})
}

// TestDBResolverAfterThePluginReachesNothing, although the program ignores the error.
func TestDBResolverAfterThePluginReachesNothing(t *testing.T) {
	t.Parallel()
	for _, source := range []bool{false, true} {
		t.Run(fmt.Sprintf("with a source of its own %t", source), func(t *testing.T) {
			t.Parallel()
			each(t, func(t *testing.T, lent, prepare bool) {
				dsn := database(t)
				foreign := pgproxy.Start(t, dsn)
				db := open(t, dsn, lent, prepare)
				p := plugin.New(plugin.BySchema())
				if err := db.Use(p); err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = p.Close() })
				mustNameResolver(t, db.Use(resolver(foreign, dsn, source)))
				mustRefuse(t, db, foreign)
				for _, schema := range []string{"public", "tenant_a", "tenant_b"} {
					if got := texts(t, dsn, schema); len(got) != 1 || got[0] != strings.TrimPrefix(schema, "tenant_") {
						t.Errorf("%s has the notes %q", schema, got)
					}
				}
			})
		})
	}
}

// TestDBResolverGetsItsReplicasLater, when no error is returned.
func TestDBResolverGetsItsReplicasLater(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, lent, prepare bool) {
		dsn := database(t)
		foreign := pgproxy.Start(t, dsn)
		db := open(t, dsn, lent, prepare)
		p := plugin.New(plugin.BySchema())
		later := &dbresolver.DBResolver{}
		if err := errors.Join(db.Use(p), db.Use(later)); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = p.Close() })
		later.Register(dbresolver.Config{Replicas: []gorm.Dialector{postgres.Open(foreign.DSN(dsn))}})
		mustRefuse(t, db, foreign)
	})
}

// memory is a cache.
type memory struct{ kept map[string][]byte }

func (m *memory) Get(_ context.Context, key string, q *caches.Query[any]) (*caches.Query[any], error) {
	text, ok := m.kept[key]
	if !ok {
		return nil, nil
	}
	return q, q.Unmarshal(text)
}

func (m *memory) Store(_ context.Context, key string, q *caches.Query[any]) error {
	text, err := q.Marshal()
	m.kept[key] = text
	return err
}

func (m *memory) Invalidate(context.Context) error { return nil }

// TestACacheOfQueriesIsRefused: its key is the text of the query, the same for all tenants.
func TestACacheOfQueriesIsRefused(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, lent, prepare bool) {
		dsn := database(t)
		cache := &caches.Caches{Conf: &caches.Config{Easer: true, Cacher: &memory{map[string][]byte{}}}}
		plain := open(t, dsn, lent, prepare)
		if err := plain.Use(cache); err != nil {
			t.Fatal(err)
		}
		var notes []Note
		if err := plain.Find(&notes).Error; err != nil || len(notes) != 1 {
			t.Fatal(notes, err)
		}
		mustNameCaches(t, plain.Use(plugin.New(plugin.BySchema())))

		db := open(t, dsn, lent, prepare)
		p := plugin.New(plugin.BySchema())
		if err := errors.Join(db.Use(p), db.Use(cache)); err != nil { // its memory is full
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = p.Close() })
		for _, ctx := range []context.Context{as(t, "a"), as(t, "b"), t.Context()} {
			for range 2 {
				var notes []Note
				mustNameCaches(t, db.WithContext(ctx).Find(&notes).Error)
				var first Note
				mustNameCaches(t, db.WithContext(ctx).First(&first).Error)
				if len(notes) != 0 || first.ID != 0 || first.Text != "" {
					t.Errorf("read %v and %v", notes, first)
				}
			}
		}
	})
}

func mustNameCaches(t *testing.T, err error) {
	t.Helper()
	if !errors.Is(err, plugin.ErrReplacedCallback) || !strings.Contains(err.Error(), "gorm:query") || !strings.Contains(err.Error(), "go-gorm/caches") {
		t.Fatalf("got error %v, want ErrReplacedCallback that names the callback and the plugin", err)
	}
}

// TestTracingPasses in either order.
func TestTracingPasses(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, lent, prepare bool) {
		for _, first := range []bool{true, false} {
			recorder := tracetest.NewSpanRecorder()
			provider := trace.NewTracerProvider(trace.WithSpanProcessor(recorder))
			db := open(t, database(t), lent, prepare)
			p := plugin.New(plugin.BySchema())
			plugins := []gorm.Plugin{tracing.NewPlugin(tracing.WithTracerProvider(provider), tracing.WithoutMetrics()), p}
			if !first {
				slices.Reverse(plugins)
			}
			if err := errors.Join(db.Use(plugins[0]), db.Use(plugins[1])); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = p.Close() })
			for name, run := range statements() {
				if strings.Contains(name, ", ") {
					continue // a clause of dbresolver's
				}
				got, err := run(db.WithContext(as(t, "a")))
				if err != nil || slices.Contains(got, "public") || slices.Contains(got, "b") {
					t.Errorf("%s read %q, error %v", name, got, err)
				}
			}
			if len(recorder.Ended()) == 0 {
				t.Error("there are no spans")
			}
		}
	})
}
