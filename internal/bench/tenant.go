package main

import (
	"fmt"

	"github.com/tenantry/tenantry/scope"
)

// tenant is one customer. Tenants are numbered from 0.
type tenant struct {
	number   int
	id       scope.Tenant
	schema   string
	database string // of those that have one
	marker   string // what each of its rows says
}

func newTenant(run string, number int) (tenant, error) {
	id, err := scope.Parse(fmt.Sprintf("t%05d", number))
	if err != nil {
		return tenant{}, err
	}
	return tenant{
		number:   number,
		id:       id,
		schema:   "tenant_" + id.String(), // what plugin.BySchema calls it
		database: run + "_" + id.String(),
		marker:   "row of " + id.String(), // as in sharedTables
	}, nil
}

func newTenants(run string, n int) ([]tenant, error) {
	all := make([]tenant, n)
	for i := range all {
		var err error
		if all[i], err = newTenant(run, i); err != nil {
			return nil, err
		}
	}
	return all, nil
}
