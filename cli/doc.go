// Package cli is a command tree for whoever runs a service: it signs tenants up and
// looks after them, migrates them, and goes into their databases. An application
// mounts it in its own binary, which knows the catalog, the keys and the
// migrations:
//
//	func main() {
//		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
//		context.AfterFunc(ctx, stop) // a second Ctrl-C ends the process at once
//		os.Exit(cli.Execute(ctx, cli.New(cli.App{Name: "myservice", Open: open})))
//	}
//
//	func open(ctx context.Context) (*cli.Service, error) {
//		tenants, err := catalog.Open(ctx, dsn, catalog.WithKeys(keys))
//		…
//		return &cli.Service{DB: db, Tenants: tenants, Migrator: func(opts ...migrator.Option) *migrator.Migrator {
//			return migrator.New(db, tenants, migrations, opts...)
//		}, Close: tenants.Close}, nil
//	}
//
// Then:
//
//	myservice tenants list
//	myservice tenants create acme --name 'Acme Corp' --kind database
//	myservice migrate up --canary 3 --stop-after 1
//	myservice migrate status -o json
//	myservice exec --all --read-only 'select count(*) from invoices'
//	myservice psql acme
//	source <(myservice completion bash)
//
// # Output
//
// Results go to standard output: tables for people, or, with -o json, one JSON
// document, whose names of fields stay. Progress, questions and errors go to standard
// error. In a terminal, progress is a bar with its rate and the time left, elsewhere
// a line for each step, and nothing with --quiet. The migrator's log is silenced: it
// would say the same once more.
//
// # Exit codes
//
// See [ExitOK] and those below it. An error in the command line is found before
// anything is opened.
//
// # What is never assumed
//
// Between one tenant and all of them there is no default where something could be
// lost: exec, rollback and repair want to be told. migrate up without a selection
// is for all: that is what it is for. Dropping a tenant and rolling back ask first;
// where standard input is no terminal they do nothing without --yes.
//
// # psql
//
// psql gets the tenant's connection by the environment variables of libpq, its role
// and search_path in PGOPTIONS, on top of the process's own environment, from which
// whatever would lead elsewhere (PGSERVICE, PGHOSTADDR) is taken out. TLS is never
// weaker than the application's: PGSSLMODE follows from what pgx would do, and the
// certificate files of the connection string are passed on. Certificates that the
// application has loaded by itself can't be; then psql refuses to connect unless
// PGSSLROOTCERT or ~/.postgresql has them. So does a proxy that the application
// dials through. Before psql starts, one transaction is begun as the tenant: a
// schema that is not there, a suspended tenant, or a pooler in between is an error.
package cli
