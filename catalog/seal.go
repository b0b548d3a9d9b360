package catalog

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"database/sql/driver"
	"errors"
	"fmt"
)

// sealed is a secret as the master database holds it: a version, the key's id
// with its length in front, the nonce, and the output of AES-256-GCM. It shows
// nothing in %v or JSON, not even the ciphertext.
type sealed []byte

// Format writes that it is sealed, whatever the verb.
func (s sealed) Format(f fmt.State, _ rune) { fmt.Fprint(f, "[sealed]") }

// MarshalText returns the same, for JSON and for logs.
func (s sealed) MarshalText() ([]byte, error) { return []byte("[sealed]"), nil }

// Value returns the bytes for the database, or NULL if there are none.
func (s sealed) Value() (driver.Value, error) {
	if s == nil {
		return nil, nil
	}
	return []byte(s), nil
}

// Scan takes what Value returned.
func (s *sealed) Scan(src any) error {
	switch b := src.(type) {
	case nil:
		*s = nil
	case []byte:
		*s = bytes.Clone(b)
	default:
		return fmt.Errorf("catalog: a sealed secret is a %T in the database, not bytes", src)
	}
	return nil
}

// sealVersion is the first byte of what is sealed today.
const sealVersion = 1

// purpose is bound into what is sealed as associated data: a password that is
// copied into another tenant's row does not open there.
type purpose string

func passwordOf(tenant string) purpose { return purpose("tenantry/password/" + tenant) }

func sparePasswordOf(spare string) purpose { return purpose("tenantry/spare/" + spare) }

func connStringOf(server string) purpose { return purpose("tenantry/server/" + server) }

func servingConnOf(server string) purpose { return purpose("tenantry/serving/" + server) }

// ring seals and opens with the keys of a Keys.
type ring struct{ keys Keys }

// newest returns the key that seals.
func (r ring) newest(ctx context.Context) (Key, error) {
	keys, err := r.load(ctx)
	if err != nil {
		return Key{}, err
	}
	if len(keys) == 0 {
		return Key{}, fmt.Errorf("catalog: there is no key to seal secrets with: set %s to an id, a colon and the output of 'openssl rand -base64 32', or pass catalog.WithKeys", DefaultKeysVariable)
	}
	return keys[0], nil
}

func (r ring) load(ctx context.Context) ([]Key, error) {
	keys, err := r.keys.Keys(ctx)
	if err != nil {
		return nil, fmt.Errorf("catalog: read the keys: %w", err)
	}
	return keys, checkRing(keys)
}

// seal encrypts secret for one purpose with the newest key.
func (r ring) seal(ctx context.Context, p purpose, secret string) (sealed, error) {
	key, err := r.newest(ctx)
	if err != nil {
		return nil, err
	}
	aead, err := gcm(key)
	if err != nil {
		return nil, err
	}
	out := append([]byte{sealVersion, byte(len(key.id))}, key.id...) //nolint:gosec // an id has at most 32 bytes
	nonce := make([]byte, aead.NonceSize())
	_, _ = rand.Read(nonce) // never fails
	return aead.Seal(append(out, nonce...), nonce, []byte(secret), []byte(p)), nil
}

// open decrypts what was sealed for the same purpose. No error shows anything of
// the secret.
func (r ring) open(ctx context.Context, p purpose, s sealed) (string, error) {
	id, body, err := s.split()
	if err != nil {
		return "", err
	}
	key, err := r.find(ctx, id)
	if err != nil {
		return "", err
	}
	aead, err := gcm(key)
	if err != nil {
		return "", err
	}
	if len(body) < aead.NonceSize() {
		return "", errMangled
	}
	plain, err := aead.Open(nil, body[:aead.NonceSize()], body[aead.NonceSize():], []byte(p))
	if err != nil {
		return "", fmt.Errorf("catalog: a secret sealed with key %q does not open: the key has changed, or the secret was altered or copied from another row", id)
	}
	return string(plain), nil
}

var errMangled = errors.New("catalog: a sealed secret is cut off or was not written by this version")

// split returns the id of the key, and nonce and ciphertext.
func (s sealed) split() (id string, body []byte, err error) {
	if len(s) < 2 || s[0] != sealVersion || len(s) < 2+int(s[1]) {
		return "", nil, errMangled
	}
	n := 2 + int(s[1])
	return string(s[2:n]), bytes.Clone(s[n:]), nil
}

func (r ring) find(ctx context.Context, id string) (Key, error) {
	keys, err := r.load(ctx)
	if err != nil {
		return Key{}, err
	}
	for _, k := range keys {
		if k.id == id {
			return k, nil
		}
	}
	return Key{}, fmt.Errorf("catalog: key %q, with which a secret was sealed, is not in the key ring: add it behind the newest", id)
}

func gcm(k Key) (cipher.AEAD, error) {
	block, err := aes.NewCipher(k.secret())
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}
