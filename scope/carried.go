package scope

import (
	"context"
	"encoding"
	"fmt"
)

// Carried is a scope in the arguments of a job, or in anything else that is
// stored as JSON and worked on later. Make one with [Carry]; the worker begins
// with [Carried.Context]:
//
//	type SendInvoice struct {
//		Scope     scope.Carried `json:"scope"`
//		InvoiceID int64         `json:"invoice_id"`
//	}
//
// The JSON is {"tenant":"acme"}, or {"tenant":"_shared"} after [Shared]. A Carried
// that was not made by Carry is not encoded: the error matches [ErrNone], so that
// such a job never gets into the queue. One that is there all the same fails in
// the worker.
//
// Carried may be embedded instead, and then adds the field "tenant" to the
// arguments. Where a queue finds duplicates by some of the arguments only, as river
// does by the tag `river:"unique"`, give it a name and that tag: without it
// one tenant's job would count as a duplicate of another's, and on an embedded
// field river ignores the tag.
//
// Decode each job into a new value: encoding/json leaves a field that is missing as
// it was. Carried is comparable. It is only as trustworthy as who can write to the queue.
type Carried struct {
	// Tenant is the scope as text. Only Carry and decoding fill it, so it is valid
	// or empty.
	Tenant carried `json:"tenant"`
}

// Carry returns the scope of ctx for the arguments of a job, or [ErrNone].
func Carry(ctx context.Context) (Carried, error) {
	text, err := name(ctx)
	if err != nil {
		return Carried{}, fmt.Errorf("tenantry: carry: %w", err)
	}
	return Carried{Tenant: carried{text}}, nil
}

// Context returns ctx under the scope that c carries, in place of one that ctx
// has already. It returns an error that matches [ErrNone], and a context without
// a scope, when c carries none: let the job fail then. Whether there is still such
// a tenant, and whether it is suspended, is for the strategy to say.
func (c Carried) Context(ctx context.Context) (context.Context, error) {
	under, err := named(ctx, c.Tenant.text)
	if err != nil {
		return With(ctx, Tenant{}), fmt.Errorf("tenantry: the job carries no scope: %w", err)
	}
	return under, nil
}

// carried encodes itself, and Carried does not: methods of Carried would become
// those of a struct that embeds it, and encode nothing but the scope.
type carried struct{ text string }

var (
	_ encoding.TextMarshaler   = carried{}
	_ encoding.TextUnmarshaler = (*carried)(nil)
	_ fmt.Stringer             = carried{}
)

// String returns the tenant's id, "_shared", or "" for none.
func (c carried) String() string { return c.text }

// MarshalText returns the text, or ErrNone.
func (c carried) MarshalText() ([]byte, error) {
	if c.text == "" {
		return nil, ErrNone
	}
	return []byte(c.text), nil
}

// UnmarshalText takes what MarshalText returns. On an error c is unchanged.
func (c *carried) UnmarshalText(text []byte) error {
	if _, err := named(context.Background(), string(text)); err != nil {
		return err
	}
	c.text = string(text)
	return nil
}
