package main

import (
	"context"
	"crypto/rand"
	"sync"
	"time"

	"github.com/tenantry/tenantry/catalog"
)

const (
	// signupLimit is how long a sign-up may take.
	signupLimit = 25 * time.Second
	// shownFor is how long the result of one can be looked at.
	shownFor = 10 * time.Minute
)

// signups are those that a browser has begun, and looks after. They go on when it
// goes away: nothing is left half made.
type signups struct {
	running sync.WaitGroup

	mu  sync.Mutex // guards all
	all map[string]*signupStatus
}

// signupStatus is how far a sign-up is. Once Ready or Problem is set it is not
// changed any more.
type signupStatus struct {
	Company string
	Ready   bool
	Problem string
	URL     string // of the customer's own site
	Login   string
	Key     string
	begun   time.Time
}

// begin begins a sign-up and returns the name to look after it by, which nobody can
// guess. work returns how it has ended.
func (s *signups) begin(ctx context.Context, company string, work func(context.Context) signupStatus) string {
	id := rand.Text()
	s.set(id, signupStatus{Company: company})
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), signupLimit)
	s.running.Go(func() {
		defer cancel()
		s.set(id, work(ctx))
	})
	return id
}

// set also forgets what is old.
func (s *signups) set(id string, status signupStatus) {
	status.begun = time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all == nil {
		s.all = map[string]*signupStatus{}
	}
	for other, old := range s.all {
		if time.Since(old.begun) > shownFor {
			delete(s.all, other)
		}
	}
	s.all[id] = &status
}

// get returns how far a sign-up is, nil if there is none of that name.
func (s *signups) get(id string) *signupStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all[id]
}

// wait waits for those that are under way.
func (s *signups) wait() { s.running.Wait() }

// account is a customer's site and the key to it.
type account struct {
	tenant catalog.Tenant
	key    string
}

// openAccount signs a customer up, and makes the first key.
func (b *backend) openAccount(ctx context.Context, in newCustomer) (account, error) {
	tenant, err := b.signUp(ctx, in)
	if err != nil {
		return account{}, err
	}
	key, err := b.issueKey(ctx, tenant.ID)
	return account{tenant, key}, err
}
