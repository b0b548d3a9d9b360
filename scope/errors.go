package scope

import (
	"errors"
	"fmt"
)

var (
	// ErrNone says that a context names neither a tenant nor the shared part.
	// Put a tenant on it with [With], usually in middleware.
	ErrNone = errors.New("tenantry: no tenant in context")

	// ErrInvalid says that a text is not a tenant id.
	ErrInvalid = errors.New("tenantry: invalid tenant id")
)

// MismatchError says that a statement in a transaction carried another scope
// than the one that began the transaction. The statement was not sent.
type MismatchError struct {
	Began Tenant // whose transaction it is; the zero value is the shared part
	Asked Tenant // whom the statement named; the zero value is the shared part
}

// Error names both tenants and says what to do.
func (e *MismatchError) Error() string {
	return fmt.Sprintf("tenantry: the transaction belongs to %s, but the statement's context names %s: use the context that began it, or another transaction",
		describe(e.Began), describe(e.Asked))
}

func describe(t Tenant) string {
	if t.IsZero() {
		return "the shared part"
	}
	return fmt.Sprintf("tenant %q", t.id)
}

// TenantError says what was tried for which tenant when Err happened.
type TenantError struct {
	Op     string // what was tried, such as "begin" or "migrate"
	Tenant Tenant // for whom; the zero value is the shared part
	Err    error  // why it did not work; never nil
}

// Error names the tenant, what was tried for it, and the cause.
func (e *TenantError) Error() string {
	return fmt.Sprintf("tenantry: %s for %s: %v", e.Op, describe(e.Tenant), e.Err)
}

// Unwrap returns the cause.
func (e *TenantError) Unwrap() error { return e.Err }
