package doctor

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tenantry/tenantry/internal/driver"
)

// pooler finds out whether a pooler stands in between, as the driver does, and
// whether it keeps a transaction on one server connection: the settings of a tenant
// rest on that.
func (e *exam) pooler(ctx context.Context, c *pgx.Conn) error {
	direct, err := driver.Direct(ctx, c.PgConn())
	if err != nil || direct {
		return err
	}
	e.pooled = true
	err = pgx.BeginFunc(ctx, c, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, "select 1")
		return err
	})
	var refused *pgconn.PgError
	if errors.As(err, &refused) {
		e.find(Finding{
			ID: "pooler-transactions", Severity: Problem,
			What: "A connection pooler stands in front of the database and refuses transactions: " + refused.Message,
			Why:  "db.Transaction, the migrator and the catalog fail there. A pool_mode of PgBouncer that ends a client's hold on the server with each statement can't carry them.",
			How:  "Set pool_mode = transaction in PgBouncer, or connect directly.",
		})
		return errors.New("without transactions nothing else can be measured") // the pooler has closed the connection, too
	}
	if err != nil {
		return err
	}
	e.find(Finding{
		ID: "pooler", Severity: Info,
		What: "A connection pooler stands in front of the database, and transactions pass through it.",
		Why:  "Tenants are kept apart: their settings travel with each statement or BEGIN. What needs a session of its own is refused: LISTEN, session SET, PREPARE, VACUUM, CREATE INDEX CONCURRENTLY. How many connections reach the server is the pooler's affair, and was not measured.",
		How:  "Open the catalog past the pooler (catalog.Open has a connection string of its own), and give the migrator a direct connection with migrator.WithDirect where migrations run outside of a transaction.",
	})
	return nil
}

// hearing is how long a catalog that was opened just now may take until it listens. One
// that has lost its connection waits 2 seconds before it tries again.
const hearing = 5 * time.Second

// notifications finds out whether the catalog hears of changes.
func (e *exam) notifications(ctx context.Context) {
	limit := time.NewTimer(hearing)
	defer limit.Stop()
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for !e.catalog.Stats().Listening {
		select {
		case <-ctx.Done():
			return
		case <-limit.C:
			e.find(Finding{
				ID: "catalog-notifications", Severity: Warning,
				What: "The catalog gets no notifications from the master database.",
				Why:  "Tenants that another process suspends, resumes or drops are served as before until the catalog's TTL has passed. Behind a transaction pooler LISTEN has no effect.",
				How:  "Give catalog.Open a connection string that leads to the database directly, past the pooler.",
			})
			return
		case <-again.C:
		}
	}
}
