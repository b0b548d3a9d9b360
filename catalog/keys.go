package catalog

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"strings"
)

// DefaultKeysVariable is the environment variable that [EnvKeys] reads if the
// catalog is opened without [WithKeys].
const DefaultKeysVariable = "TENANTRY_KEYS"

// keySize is that of AES-256, in bytes.
const keySize = 32

// Key seals passwords and connection strings in the master database. Its secret
// shows nowhere: neither in %v nor in JSON nor in a log.
type Key struct {
	id     string
	secret func() []byte // of a function fmt shows the address only, also in a field whose Format it may not call
}

// NewKey returns the key with the given id, 1 to 32 characters of a-z, 0-9, '_'
// and '-'. The secret is 32 random bytes. The id is stored beside what the key
// has sealed: a new secret needs a new id.
func NewKey(id string, secret []byte) (Key, error) {
	if err := checkKeyID(id); err != nil {
		return Key{}, err
	}
	if len(secret) != keySize {
		// Without the id: who swaps the two has written the secret there.
		return Key{}, fmt.Errorf("catalog: the key has %d bytes, AES-256 needs %d", len(secret), keySize)
	}
	secret = bytes.Clone(secret)
	return Key{id: id, secret: func() []byte { return secret }}, nil
}

func checkKeyID(id string) error {
	if id == "" || len(id) > 32 || strings.Trim(id, "abcdefghijklmnopqrstuvwxyz0123456789_-") != "" {
		return errors.New("catalog: a key's id is 1 to 32 characters of a-z, 0-9, '_' and '-'")
	}
	return nil
}

// ID returns the key's id.
func (k Key) ID() string { return k.id }

// Format writes the id, whatever the verb.
func (k Key) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "key %q", k.id) }

// MarshalText returns the id, for JSON and for logs.
func (k Key) MarshalText() ([]byte, error) { return []byte(k.id), nil }

// Keys is a key ring. Keys is called whenever something is sealed or opened,
// from many goroutines: it answers from memory in the usual case.
type Keys interface {
	// Keys returns all keys that may be in use, the newest first: it seals, the
	// others only open what they have sealed. No keys at all is no error: then
	// nothing can be sealed.
	Keys(ctx context.Context) ([]Key, error)
}

// FixedKeys is a key ring in memory, the newest key first.
type FixedKeys []Key

// Keys returns the keys as they are.
func (k FixedKeys) Keys(context.Context) ([]Key, error) { return k, nil }

// EnvKeys returns the key ring in an environment variable: keys separated by
// commas, the newest first, each an id, a colon and the secret in base64:
//
//	TENANTRY_KEYS="2027:$(openssl rand -base64 32),2026:…"
//
// The variable is read now. If it is unset or empty, there are no keys. An error
// tells the position of the wrong key and never its text.
func EnvKeys(variable string) (FixedKeys, error) {
	text := os.Getenv(variable)
	if text == "" {
		return nil, nil
	}
	var keys FixedKeys
	for i, entry := range strings.Split(text, ",") {
		key, err := parseKey(strings.TrimSpace(entry))
		if err != nil {
			return nil, fmt.Errorf("catalog: key %d of %s: %w", i+1, variable, err)
		}
		keys = append(keys, key)
	}
	if err := checkRing(keys); err != nil {
		return nil, fmt.Errorf("%w in %s", err, variable)
	}
	return keys, nil
}

func parseKey(entry string) (Key, error) {
	id, encoded, found := strings.Cut(entry, ":")
	if !found {
		return Key{}, errors.New("it has no colon: write an id, a colon, and 32 random bytes in base64")
	}
	secret, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return Key{}, errors.New("the secret is not base64") // err would show some of it
	}
	return NewKey(id, secret)
}

// checkRing refuses a ring in which an id stands for two keys.
func checkRing(keys []Key) error {
	seen := make(map[string]bool, len(keys))
	for _, k := range keys {
		if k.id == "" {
			return errors.New("catalog: a key is the zero Key: make keys with NewKey")
		}
		if seen[k.id] {
			return fmt.Errorf("catalog: two keys have the id %q", k.id)
		}
		seen[k.id] = true
	}
	return nil
}
