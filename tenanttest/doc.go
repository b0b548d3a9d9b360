// Package tenanttest gives a test of an application a fresh tenant in
// milliseconds: a schema of its own, in which all migrations have run.
//
//	var tenants = sync.OnceValues(func() (*tenanttest.Factory, error) {
//		return tenanttest.New(db, migrations) // db: a test database, with the plugin
//	})
//
//	func TestInvoices(t *testing.T) {
//		f, err := tenants()
//		if err != nil {
//			t.Fatal(err)
//		}
//		ctx := f.Tenant(t) // the scope of a tenant that nobody else knows
//		…
//	}
//
// Names are random, so tests run in parallel, also those of several packages
// against one server. The tenant goes with its test. Its schema is emptied and
// serves a later test, if it is certain that it is then as the migrations left
// it, and is dropped otherwise. See docs/testing.md.
package tenanttest
