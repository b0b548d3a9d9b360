package main

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/tenantry/tenantry/catalog"
	"github.com/tenantry/tenantry/scope"
)

// Labels of a customer in the catalog.
const (
	labelPlan   = "plan"
	labelSignup = "signup" // id of the Signup
)

// Signup is who signed a customer up. It is the service's own record, in a table
// that belongs to no tenant: it is there before the tenant is, so that a sign-up
// that is cut off and repaired later has its contact, and whoever writes to the
// contact of a suspended customer needs none of the customer's tables.
type Signup struct {
	ID        int64
	Company   string
	Contact   string
	Email     string
	CreatedAt time.Time
}

// signUp makes the customer: when it returns without an error, the next request on
// the subdomain is served. If an earlier try of the same person has failed, it goes
// on with that.
func (b *backend) signUp(ctx context.Context, in newCustomer) (catalog.Tenant, error) {
	tenant, err := b.signUpNew(ctx, in)
	var state *catalog.StateError
	if errors.As(err, &state) && state.State == catalog.Failed {
		return b.tryAgain(ctx, in, state.Tenant, err)
	}
	return tenant, err
}

// tryAgain makes a customer whose making has failed, if in is of the same person;
// otherwise the subdomain is taken.
func (b *backend) tryAgain(ctx context.Context, in newCustomer, t scope.Tenant, taken error) (catalog.Tenant, error) {
	tenant, err := b.tenants.Get(ctx, t)
	if err != nil {
		return tenant, err
	}
	by, err := b.signedUpBy(ctx, tenant)
	if err != nil {
		return tenant, err
	}
	if by.Email != in.Email || tenant.Kind != in.kind() {
		return tenant, taken
	}
	if err := b.tenants.Repair(ctx, t); err != nil {
		return tenant, err
	}
	return b.tenants.Get(ctx, t)
}

func (b *backend) signUpNew(ctx context.Context, in newCustomer) (catalog.Tenant, error) {
	shared := b.db.WithContext(scope.Shared(ctx))
	by := Signup{Company: in.Company, Contact: in.Contact, Email: in.Email}
	if err := shared.Create(&by).Error; err != nil {
		return catalog.Tenant{}, err
	}
	tenant, err := b.tenants.Create(ctx, catalog.New{
		ID:     in.Subdomain,
		Name:   in.Company,
		Kind:   in.kind(),
		Labels: map[string]string{labelPlan: string(in.Plan), labelSignup: strconv.FormatInt(by.ID, 10)},
	})
	if refused(err) {
		err = errors.Join(err, shared.Delete(&by).Error)
	}
	return tenant, err
}

// refused reports whether err says that nothing was made, and that nothing will
// be by a repair.
func refused(err error) bool {
	var input *catalog.InputError
	return errors.As(err, &input) || errors.Is(err, catalog.ErrNoRoom)
}

// signedUpBy returns who signed a customer up.
func (b *backend) signedUpBy(ctx context.Context, tenant catalog.Tenant) (Signup, error) {
	var by Signup
	err := b.db.WithContext(scope.Shared(ctx)).Take(&by, "id = ?", tenant.Labels[labelSignup]).Error
	return by, err
}
