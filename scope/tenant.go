package scope

import (
	"encoding"
	"fmt"
	"log/slog"
)

// maxLen is the longest tenant id, in bytes. With the default prefix
// "tenant_" and a random suffix a schema name still fits PostgreSQL's limit
// of 63 bytes (NAMEDATALEN, "Identifiers and Key Words" in its manual).
const maxLen = 48

// Tenant names one customer. It is opaque and comparable: two values are equal
// exactly when they name the same tenant. Only [Parse] and
// [Tenant.UnmarshalText] make one, so a Tenant that is not the zero value is
// always valid. The zero value names no tenant.
type Tenant struct{ id string }

var (
	_ encoding.TextMarshaler   = Tenant{}
	_ encoding.TextUnmarshaler = (*Tenant)(nil)
	_ slog.LogValuer           = Tenant{}
	_ fmt.Stringer             = Tenant{}
)

// Parse returns the tenant with the given id: 1 to 48 characters of a-z, 0-9,
// '_' and '-', the first one a letter. Anything else is an error that matches
// [ErrInvalid]. Parse does not change case: "Acme" is an error, because two
// spellings of one tenant would be two tenants.
func Parse(id string) (Tenant, error) {
	switch {
	case id == "":
		return Tenant{}, fmt.Errorf("%w: it is empty", ErrInvalid)
	case len(id) > maxLen:
		return Tenant{}, fmt.Errorf("%w: it has %d bytes, at most %d are allowed", ErrInvalid, len(id), maxLen)
	case id[0] < 'a' || id[0] > 'z':
		return Tenant{}, fmt.Errorf("%w: %q does not begin with a letter a-z", ErrInvalid, id)
	}
	for i := range len(id) {
		if !idByte(id[i]) {
			return Tenant{}, fmt.Errorf("%w: %q has %q at byte %d, only a-z, 0-9, '_' and '-' are allowed", ErrInvalid, id, id[i:i+1], i)
		}
	}
	return Tenant{id: id}, nil
}

func idByte(b byte) bool {
	return b >= 'a' && b <= 'z' || b >= '0' && b <= '9' || b == '_' || b == '-'
}

// String returns the id, or "" for the zero value.
func (t Tenant) String() string { return t.id }

// IsZero reports whether t names no tenant. It also lets encoding/json leave a
// field out with the omitzero option.
func (t Tenant) IsZero() bool { return t == Tenant{} }

// MarshalText returns the id. For the zero value it returns [ErrNone]: no
// tenant has no text form that could be read back.
func (t Tenant) MarshalText() ([]byte, error) {
	if t.IsZero() {
		return nil, ErrNone
	}
	return []byte(t.id), nil
}

// UnmarshalText sets t as [Parse] would. On an error t is unchanged.
func (t *Tenant) UnmarshalText(text []byte) error {
	parsed, err := Parse(string(text))
	if err != nil {
		return err
	}
	*t = parsed
	return nil
}

// LogValue returns the id as a string value, or "(none)" for the zero value.
func (t Tenant) LogValue() slog.Value {
	if t.IsZero() {
		return slog.StringValue("(none)")
	}
	return slog.StringValue(t.id)
}
