package isolation

import (
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5/pgconn"
)

// note sorts the error of an operation: only a killed backend and an ended
// context may cause one.
func (r *run) note(w *worker, err error) {
	switch {
	case err == nil:
	case w.ctx.Err() != nil:
		r.ended.Add(1)
	case r.KillEvery > 0 && killed(err):
		r.killed.Add(1)
	default:
		r.mu.Lock()
		defer r.mu.Unlock()
		if len(r.errors) < maxNoted {
			r.errors = append(r.errors, fmt.Sprintf("%s: %v", w.tenant, err))
		}
	}
}

// killed reports whether err is what the client of a killed backend sees.
func killed(err error) bool {
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) {
		return pgErr.Code == "57P01" || // admin_shutdown
			pgErr.Code == "08P01" && strings.Contains(pgErr.Message, "server conn crashed") // PgBouncer's word for it
	}
	for _, target := range []error{driver.ErrBadConn, io.ErrUnexpectedEOF, io.EOF, syscall.ECONNRESET, syscall.EPIPE, net.ErrClosed} {
		if errors.Is(err, target) {
			return true
		}
	}
	return strings.Contains(err.Error(), "conn closed")
}
