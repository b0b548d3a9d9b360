// Package pgerr tells PostgreSQL's errors apart by SQLSTATE.
//
//	if pgerr.Is(err, pgerr.UniqueViolation) { … }
//
// It looks through wrapped errors. An error that did not come from the server has no code.
package pgerr

import (
	"errors"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// SQLSTATE codes, with the condition names of Appendix A of the PostgreSQL manual.
const (
	ProtocolViolation                 = "08P01"
	FeatureNotSupported               = "0A000"
	NumericValueOutOfRange            = "22003"
	InvalidDatetimeFormat             = "22007"
	DatetimeFieldOverflow             = "22008"
	InvalidParameterValue             = "22023"
	InvalidTextRepresentation         = "22P02"
	ForeignKeyViolation               = "23503"
	UniqueViolation                   = "23505"
	ActiveSQLTransaction              = "25001"
	InvalidSQLStatementName           = "26000"
	InvalidAuthorizationSpecification = "28000"
	InvalidPassword                   = "28P01"
	InvalidTransactionTermination     = "2D000"
	InvalidSchemaName                 = "3F000"
	DeadlockDetected                  = "40P01"
	InsufficientPrivilege             = "42501"
	SyntaxError                       = "42601"
	UndefinedObject                   = "42704"
	DuplicateDatabase                 = "42P04"
	DuplicateSchema                   = "42P06"
	DuplicateTable                    = "42P07"
	UndefinedTable                    = "42P01"
	LockNotAvailable                  = "55P03"
	AdminShutdown                     = "57P01"
	InternalError                     = "XX000"
)

// Classes of SQLSTATE codes: their first two characters.
const (
	ConnectionException              = "08"
	SyntaxErrorOrAccessRuleViolation = "42"
	OperatorIntervention             = "57"
)

// Code returns the SQLSTATE of err, or "" if err is nil or did not come from the server.
func Code(err error) string {
	if err == nil {
		return ""
	}
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) {
		return pgErr.Code
	}
	return ""
}

// Is reports whether err has one of the codes.
func Is(err error, codes ...string) bool { return slices.Contains(codes, Code(err)) }

// In reports whether the code of err is in one of the classes.
func In(err error, classes ...string) bool {
	code := Code(err)
	return slices.ContainsFunc(classes, func(class string) bool { return strings.HasPrefix(code, class) })
}

// RaisedBy reports whether err has the code, and one of the given routines of the server's source
// raised it. User code can raise the same code; messages are translated, names of routines are not.
// A server or pooler that does not name the routine counts as one that names the right one.
func RaisedBy(err error, code string, routines ...string) bool {
	if err == nil {
		return false
	}
	var pgErr *pgconn.PgError
	return errors.As(err, &pgErr) && pgErr.Code == code && (pgErr.Routine == "" || slices.Contains(routines, pgErr.Routine))
}
