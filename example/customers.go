package main

import (
	"github.com/tenantry/tenantry/migrator"
	"github.com/tenantry/tenantry/scope"
)

// customers returns the two tenants of this service. A real one keeps them in a
// table.
func customers() (migrator.List, error) {
	var list migrator.List
	for _, id := range []string{"acme", "globex"} {
		t, err := scope.Parse(id)
		if err != nil {
			return nil, err
		}
		list = append(list, t)
	}
	return list, nil
}
