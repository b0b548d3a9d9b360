package main

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/alexedwards/scs/v2"
	"gorm.io/gorm"
	"gorm.io/gorm/clause"
)

const sessionLife = 12 * time.Hour

// Session is a row in the customer's own tables: a cookie that another customer's
// subdomain has set names a session that is not there.
type Session struct {
	Token  string `gorm:"primaryKey"` // hashed
	Data   []byte
	Expiry time.Time
}

// sessionStore keeps sessions where the context's tenant has its rows.
type sessionStore struct{ db *gorm.DB }

var _ scs.CtxStore = sessionStore{}

func newSessions(db *gorm.DB) *scs.SessionManager { return newSessionManager(sessionStore{db}) }

// newSessionManager keeps sessions in store. It is made without scs.New, which starts a
// goroutine for a store of its own.
func newSessionManager(store scs.Store) *scs.SessionManager {
	return &scs.SessionManager{
		Store:            store,
		Codec:            scs.GobCodec{},
		HashTokenInStore: true,
		Lifetime:         sessionLife,
		// No Domain: the cookie goes to this one host.
		Cookie: scs.SessionCookie{Name: "session", Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode, Secure: overTLS, Persist: true},
	}
}

func (s sessionStore) FindCtx(ctx context.Context, token string) ([]byte, bool, error) {
	var row Session
	err := s.db.WithContext(ctx).Take(&row, "token = ? and expiry > now()", token).Error
	if errors.Is(err, gorm.ErrRecordNotFound) {
		return nil, false, nil
	}
	return row.Data, err == nil, err
}

// CommitCtx also takes out what has expired: sessions begin seldom.
func (s sessionStore) CommitCtx(ctx context.Context, token string, data []byte, expiry time.Time) error {
	return s.db.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
		if err := tx.Delete(&Session{}, "expiry < now()").Error; err != nil {
			return err
		}
		return tx.Clauses(clause.OnConflict{UpdateAll: true}).Create(&Session{token, data, expiry}).Error
	})
}

func (s sessionStore) DeleteCtx(ctx context.Context, token string) error {
	return s.db.WithContext(ctx).Delete(&Session{}, "token = ?", token).Error
}

// Without a context there is no tenant, and every statement is scope.ErrNone.

func (s sessionStore) Find(token string) ([]byte, bool, error) {
	return s.FindCtx(context.Background(), token)
}

func (s sessionStore) Commit(token string, data []byte, expiry time.Time) error {
	return s.CommitCtx(context.Background(), token, data, expiry)
}

func (s sessionStore) Delete(token string) error { return s.DeleteCtx(context.Background(), token) }
