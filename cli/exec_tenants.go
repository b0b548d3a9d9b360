package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/tenantry/tenantry/catalog"
	"github.com/tenantry/tenantry/migrator"
	"github.com/tenantry/tenantry/scope"
)

// finder checks the flags, and returns what finds the tenants that they select.
func (e *execution) finder() (func(context.Context, *Service) ([]scope.Tenant, error), error) {
	selected, states, err := e.parseCatalog()
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, s *Service) ([]scope.Tenant, error) {
		fleet, err := s.members(ctx, selected, states)
		if err != nil {
			return nil, err
		}
		return choice(fleet, selected)
	}, nil
}

// members lists the tenants that there are, in one of the given states of the
// catalog. Those that are not made, or no more, are left out unless they are
// asked for.
func (s *Service) members(ctx context.Context, sel migrator.Selection, states []catalog.State) (fleet []migrator.Tenant, err error) {
	if s.Tenants == nil {
		return s.others(ctx, sel, states)
	}
	if len(states) == 0 && len(sel.IDs) == 0 {
		states = []catalog.State{catalog.Active, catalog.Suspended}
	}
	for t, err := range s.Tenants.List(ctx, catalog.Filter{States: states}) {
		if err != nil {
			return nil, err
		}
		fleet = append(fleet, migrator.Tenant{ID: t.ID, Server: t.Server, Labels: t.Labels})
	}
	return fleet, nil
}

// others is members where there is no catalog.
func (s *Service) others(ctx context.Context, sel migrator.Selection, states []catalog.State) (fleet []migrator.Tenant, err error) {
	switch {
	case len(states) > 0:
		return nil, errors.New("--state: this program has no catalog of tenants")
	case s.Fleet == nil && len(sel.IDs) > 0:
		for _, id := range sel.IDs {
			fleet = append(fleet, migrator.Tenant{ID: id})
		}
		return fleet, nil
	case s.Fleet == nil:
		return nil, errors.New("this program has no list of tenants: name them with --tenant")
	}
	for t, err := range s.Fleet.Tenants(ctx) {
		if err != nil {
			return nil, err
		}
		fleet = append(fleet, t)
	}
	return fleet, nil
}

// choice returns those of the fleet that sel selects, states aside. A tenant that
// is named and not there is an error, before anything is run.
func choice(fleet []migrator.Tenant, sel migrator.Selection) (chosen []scope.Tenant, err error) {
	for _, id := range sel.IDs {
		if !slices.ContainsFunc(fleet, func(t migrator.Tenant) bool { return t.ID == id }) {
			return nil, fmt.Errorf("there is no tenant %q to run it for", id)
		}
	}
	for _, t := range fleet {
		if sel.First > 0 && len(chosen) == sel.First {
			break
		}
		if selects(sel, t) {
			chosen = append(chosen, t.ID)
		}
	}
	return chosen, nil
}

func selects(sel migrator.Selection, t migrator.Tenant) bool {
	for key, value := range sel.Labels {
		if got, ok := t.Labels[key]; !ok || got != value {
			return false
		}
	}
	return (len(sel.IDs) == 0 || slices.Contains(sel.IDs, t.ID)) &&
		(len(sel.Servers) == 0 || slices.Contains(sel.Servers, t.Server))
}
