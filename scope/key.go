package scope

import (
	"context"
	"fmt"
	"strings"
)

// Key returns a key for a cache, or a path for an object store, that belongs to
// the scope of ctx: the tenant's id, or "_shared" after [Shared], then '/', then
// the parts with '/' between them. Without a scope it returns [ErrNone].
//
//	Key(ctx, "invoices", "2026/7.pdf") // acme/invoices/2026!2F7.pdf
//	Key(ctx)                           // acme/
//
// In a part stay as they are: a-z, A-Z, 0-9, '-', '_', and '.' unless it is the
// first. Every other byte becomes '!' and two upper-case hexadecimal digits, and an
// empty part becomes a lone '!'. So, whatever the parts are:
//
//   - no key of another scope equals this one or begins with Key(ctx), which
//     therefore is the prefix to list or to delete all keys of a tenant by (the bare
//     id is not: it begins the keys of "acme2" too);
//   - two lists of parts never give the same key;
//   - the key survives path cleaning and URL decoding, because ".." and '%' are
//     not in it, and is a pattern for no cache, because '*' and '?' are not.
//
// Case counts: do not store the keys where it does not, as in some file systems.
// A part grows to three times its length at most; limits of the store are not
// looked at. A key goes by the tenant's id: delete what a dropped tenant has
// stored before its id is given to another.
func Key(ctx context.Context, parts ...string) (string, error) {
	owner, err := name(ctx)
	if err != nil {
		return "", fmt.Errorf("tenantry: key: %w", err)
	}
	var b strings.Builder
	b.WriteString(owner)
	b.WriteByte('/')
	for i, part := range parts {
		if i > 0 {
			b.WriteByte('/')
		}
		writePart(&b, part)
	}
	return b.String(), nil
}

// writePart escapes by '!', not by '%': a key is often put into a URL as it is,
// and "%2E%2E" would be ".." there.
func writePart(b *strings.Builder, part string) {
	const hex = "0123456789ABCDEF"
	if part == "" {
		b.WriteByte('!')
	}
	for i := range len(part) {
		c := part[i]
		if keyByte(c) || c == '.' && i > 0 {
			b.WriteByte(c)
			continue
		}
		b.Write([]byte{'!', hex[c>>4], hex[c&15]})
	}
}

func keyByte(c byte) bool {
	return idByte(c) || c >= 'A' && c <= 'Z'
}
