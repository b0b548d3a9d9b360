package scope

import (
	"context"
	"errors"
	"fmt"
)

// HeaderName is the header under which [Inject] writes the scope and [Extract]
// looks for it. It is in the form that net/http uses.
const HeaderName = "Tenantry-Tenant"

// sharedName stands for the shared part wherever a scope is written as text. No
// tenant id begins with '_', so it is never a tenant's.
const sharedName = "_shared"

// Carrier is what takes a scope to another process: the headers of a message or
// of a request. http.Header and [Map] are carriers, and so is every
// propagation.TextMapCarrier of OpenTelemetry, such as those for Kafka or AMQP.
type Carrier interface {
	// Get returns the value of key, or "" when there is none.
	Get(key string) string

	// Set writes the value of key in place of those that it had.
	Set(key, value string)
}

// Map is a carrier for messages whose headers are a map. Keys are told apart by
// case.
type Map map[string]string

var _ Carrier = Map{}

// Get returns m[key].
func (m Map) Get(key string) string { return m[key] }

// Set sets m[key]. m must not be nil.
func (m Map) Set(key, value string) { m[key] = value }

// Inject writes the scope of ctx to c as [HeaderName]: the tenant's id, or
// "_shared" after [Shared]. Without a scope it returns [ErrNone] and leaves c
// alone: then do not send the message.
func Inject(ctx context.Context, c Carrier) error {
	if c == nil {
		return errors.New("tenantry: inject: the carrier is nil: give the headers of the message")
	}
	text, err := name(ctx)
	if err != nil {
		return fmt.Errorf("tenantry: inject: %w", err)
	}
	c.Set(HeaderName, text)
	return nil
}

// Extract returns ctx under the scope that [Inject] wrote to c, in place of one
// that ctx has already. It returns [ErrNone] when c names none, and an error that
// matches [ErrInvalid] when what it names is no scope, or when the header occurs
// more than once in a carrier that tells so, as http.Header does. With an error
// comes a context without a scope: nothing runs under the one that ctx had.
//
// The scope is only as trustworthy as who can write to c, and Extract does not
// ask whether there is such a tenant or whether it is suspended. Use it for
// queues and calls between your own services, never for requests that come from
// the public internet: anyone can write any tenant's id into a header.
func Extract(ctx context.Context, c Carrier) (context.Context, error) {
	text, err := read(c)
	if err == nil {
		ctx, err = named(ctx, text)
	}
	if err != nil {
		return With(ctx, Tenant{}), fmt.Errorf("tenantry: extract: %w", err)
	}
	return ctx, nil
}

// read looks at all values where it can: of two senders' words, neither counts.
func read(c Carrier) (string, error) {
	if c == nil {
		return "", errors.New("the carrier is nil: give the headers of the message")
	}
	if all, ok := c.(interface{ Values(key string) []string }); ok {
		if n := len(all.Values(HeaderName)); n > 1 {
			return "", fmt.Errorf("%w: %s occurs %d times", ErrInvalid, HeaderName, n)
		}
	}
	return c.Get(HeaderName), nil
}

// name returns the text that stands for the scope of ctx.
func name(ctx context.Context) (string, error) {
	if IsShared(ctx) {
		return sharedName, nil
	}
	t, err := From(ctx)
	return t.id, err
}

// named returns ctx under the scope that text stands for. On an error it returns
// ctx as it is.
func named(ctx context.Context, text string) (context.Context, error) {
	switch text {
	case "":
		return ctx, ErrNone
	case sharedName:
		return Shared(ctx), nil
	}
	t, err := Parse(text)
	if err != nil {
		return ctx, err
	}
	return With(ctx, t), nil
}
