package main

import (
	"crypto/rand"
	"errors"
	"os"

	"github.com/tenantry/tenantry/catalog"
	"github.com/tenantry/tenantry/internal/pgserver"
)

// errNoKeys says how to set keys.
var errNoKeys = errors.New(`there are no keys to seal the passwords of the customers' databases with, which stay when the program ends: set ` +
	catalog.DefaultKeysVariable + ` once, and keep it:

  export ` + catalog.DefaultKeysVariable + `="k1:$(openssl rand -base64 32)"`)

// keys returns the keys of the environment. Without any, a server that ends with
// this process gets one that does so, too; for another server they are an error.
func (s *settings) keys() (catalog.FixedKeys, error) {
	keys, err := catalog.EnvKeys(catalog.DefaultKeysVariable)
	if err != nil || len(keys) > 0 {
		return keys, err
	}
	if s.dsn != "" || os.Getenv(pgserver.EnvDSN) != "" {
		return nil, errNoKeys
	}
	secret := make([]byte, 32)
	_, _ = rand.Read(secret) // never fails
	key, err := catalog.NewKey("private", secret)
	return catalog.FixedKeys{key}, err
}
