package httpmw

import "fmt"

// Kind says what the value of a [Ref] is. The zero value is no kind.
type Kind uint8

// The kinds of today. Later versions may add others, so a [Directory] returns
// [ErrUnknown] for a kind that it does not know.
const (
	// KindID is a tenant id that scope.Parse accepts.
	KindID Kind = iota + 1

	// KindSubdomain is the label directly below a parent domain: a valid DNS
	// label (RFC 1123, section 2.1), in lower case. It need not be a tenant id:
	// "3com" is a label, but no id.
	KindSubdomain

	// KindHost is a whole host name, such as a custom domain: two valid DNS
	// labels or more, in lower case, without port and trailing dot. The last one
	// is no number.
	KindHost
)

// String returns a word for k, such as "subdomain".
func (k Kind) String() string {
	switch k {
	case KindID:
		return "id"
	case KindSubdomain:
		return "subdomain"
	case KindHost:
		return "host"
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// Ref is whom a request names. It is checked for its form only: whether there
// is such a tenant is for the [Directory] to say. Ref is comparable, so it can
// be the key of a cache.
type Ref struct {
	Kind  Kind
	Value string
}

// String returns the kind and the quoted value, such as `subdomain "acme"`.
func (r Ref) String() string { return fmt.Sprintf("%s %q", r.Kind, r.Value) }
