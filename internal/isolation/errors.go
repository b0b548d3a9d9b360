package isolation

import (
	"context"
	"database/sql/driver"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tenantry/tenantry/internal/pgerr"
)

// refusedPause keeps workers from trying thousands of times while the pooler starts.
const refusedPause = 10 * time.Millisecond

// note sorts the error of an operation: only a killed backend, an ended context and a
// pooler that is started again may cause one.
func (r *run) note(w *worker, err error) {
	switch {
	case err == nil:
	case ended(w.ctx):
		r.ended.Add(1)
	case r.KillEvery > 0 && killed(err):
		r.killed.Add(1)
	case r.Restarts != nil && errors.Is(err, syscall.ECONNREFUSED):
		r.refused.Add(1)
		time.Sleep(refusedPause)
	default:
		r.unexplained("%s: %v", w.Tenant, err)
	}
}

// ended reports whether ctx is over. The deadline of a socket may show a moment
// before the context's own timer fires.
func ended(ctx context.Context) bool {
	deadline, ok := ctx.Deadline()
	return ctx.Err() != nil || ok && !time.Now().Before(deadline)
}

// crashes are what PgBouncer says where a backend is gone: the client's, the one by which
// it looked a user up, and one that was just being given the client's parameters.
var crashes = [...]string{"server conn crashed", "bouncer config error", "invalid server parameter"}

// killed reports whether err is what the client of a killed backend sees.
func killed(err error) bool {
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) {
		crashed := slices.ContainsFunc(crashes[:], func(words string) bool { return strings.Contains(pgErr.Message, words) })
		return pgErr.Code == pgerr.AdminShutdown || pgErr.Code == pgerr.ProtocolViolation && crashed
	}
	for _, target := range []error{driver.ErrBadConn, io.ErrUnexpectedEOF, io.EOF, syscall.ECONNRESET, syscall.EPIPE, net.ErrClosed} {
		if errors.Is(err, target) {
			return true
		}
	}
	return strings.Contains(err.Error(), "conn closed")
}
