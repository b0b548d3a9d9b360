package doctor_test

import (
	"fmt"
	"testing"

	"github.com/tenantry/tenantry/internal/pgserver"
	"github.com/tenantry/tenantry/internal/pgserver/pgtest"
)

// BenchmarkExamine examines a service whose tenants have schemas of three tables and
// roles. With -short, they are 500 only.
func BenchmarkExamine(b *testing.B) {
	counts := []int{500, 5000}
	if testing.Short() {
		counts = counts[:1]
	}
	for _, n := range counts {
		b.Run(fmt.Sprintf("tenants=%d", n), func(b *testing.B) {
			server := pgtest.Server(b, pgserver.WithSetting("max_locks_per_transaction", "1024"), pgserver.WithSetting("fsync", "off"))
			s := bare(b, server.DSN())
			b.Cleanup(func() { s.plant(b, "delete from tenantry.tenants") }) // the server ends
			for i := 0; i < n; i += 100 {
				s.plant(b, fmt.Sprintf(fill, i, i+99, s.login, s.identity(b), s.serving))
			}
			s.plant(b, "analyze")
			for b.Loop() {
				s.mustFind(b, nil)
			}
		})
	}
}

// fill makes tenants without the catalog, which would take minutes.
const fill = `do $$ declare t text; begin for i in %[1]d..%[2]d loop
	t := 't' || i;
	execute format('create role %%1$s noinherit; grant %%1$s to %[3]s; grant %%1$s to %[5]s; create schema %%1$s; grant usage on schema %%1$s to %%1$s;
		create table %%1$s.customers (id bigserial primary key, name text); create table %%1$s.invoices (id bigserial primary key, title text);
		create table %%1$s.migrations (id text primary key); comment on schema %%1$s is ''tenantry %[4]s tenant %%1$s'';
		comment on role %%1$s is ''tenantry %[4]s tenant %%1$s''', t);
	insert into tenantry.tenants (id, name, state, kind, server, cluster, database, schema, role, activated_at)
		select t, t, 'active', 'schema', 'main', cluster, database, t, t, now() from tenantry.servers;
end loop; end $$`
