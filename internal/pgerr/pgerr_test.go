package pgerr_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tenantry/tenantry/internal/pgerr"
)

func TestCodes(t *testing.T) {
	t.Parallel()
	deadlock := &pgconn.PgError{Code: "40P01"}
	shutdown := &pgconn.PgError{Code: "57P01"}
	for _, tt := range []struct {
		name               string
		err                error
		code               string
		isLock, inOperator bool
	}{
		{"nil", nil, "", false, false},
		{"another error", errors.New("40P01"), "", false, false},
		{"one of the codes", deadlock, "40P01", true, false},
		{"wrapped", fmt.Errorf("migrate: %w", deadlock), "40P01", true, false},
		{"joined", errors.Join(errors.New("x"), shutdown), "57P01", false, true},
		{"another code", &pgconn.PgError{Code: "42P01"}, "42P01", false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := pgerr.Code(tt.err); got != tt.code {
				t.Errorf("Code: got %q, want %q", got, tt.code)
			}
			if got := pgerr.Is(tt.err, pgerr.LockNotAvailable, pgerr.DeadlockDetected); got != tt.isLock {
				t.Errorf("Is: got %t", got)
			}
			if got := pgerr.In(tt.err, pgerr.ConnectionException, pgerr.OperatorIntervention); got != tt.inOperator {
				t.Errorf("In: got %t", got)
			}
		})
	}
	if pgerr.Is(deadlock) || pgerr.In(deadlock) {
		t.Error("without codes or classes an error has one of them")
	}
}

func TestRaisedBy(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		err  error
		want bool
	}{
		{"nil", nil, false},
		{"another error", errors.New("x"), false},
		{"the routine", &pgconn.PgError{Code: "42601", Routine: "exec_parse_message"}, true},
		{"wrapped", fmt.Errorf("x: %w", &pgconn.PgError{Code: "42601", Routine: "exec_parse_message"}), true},
		{"no routine", &pgconn.PgError{Code: "42601"}, true},
		{"another routine", &pgconn.PgError{Code: "42601", Routine: "exec_stmt_raise"}, false},
		{"another code", &pgconn.PgError{Code: "25001", Routine: "exec_parse_message"}, false},
	} {
		if got := pgerr.RaisedBy(tt.err, pgerr.SyntaxError, "scanner_yyerror", "exec_parse_message"); got != tt.want {
			t.Errorf("%s: got %t", tt.name, got)
		}
	}
}
