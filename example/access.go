package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"time"

	"gorm.io/gorm"

	"github.com/tenantry/tenantry/scope"
)

// AccessKey lets in whoever has it. It is a row in the customer's own tables, so for
// any other customer there is no such key.
type AccessKey struct {
	Hash      []byte `gorm:"primaryKey"` // SHA-256: a key is too long to be guessed
	CreatedAt time.Time
}

func hashOf(key string) []byte {
	sum := sha256.Sum256([]byte(key))
	return sum[:]
}

// issueKey makes a key for a customer. It is shown once.
func (b *backend) issueKey(ctx context.Context, t scope.Tenant) (string, error) {
	key := rand.Text()
	return key, b.db.WithContext(scope.With(ctx, t)).Create(&AccessKey{Hash: hashOf(key)}).Error
}

// opens reports whether key is one of the tenant's of db's context.
func opens(db *gorm.DB, key string) (bool, error) {
	err := db.Take(&AccessKey{}, "hash = ?", hashOf(key)).Error
	if errors.Is(err, gorm.ErrRecordNotFound) {
		return false, nil
	}
	return err == nil, err
}
