package cli

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tenantry/tenantry/catalog"
)

// completionLimit is how long a user's shell may hang at a Tab.
const completionLimit = 5 * time.Second

// fixed completes by what is known without a database.
func fixed(values []string) cobra.CompletionFunc {
	return cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)
}

// complete completes by what names finds. An error gives no completions: there is
// nowhere to report it.
func (t *tree) complete(names func(context.Context, *Service) ([]string, error)) cobra.CompletionFunc {
	return func(cmd *cobra.Command, _ []string, begun string) ([]string, cobra.ShellCompDirective) {
		ctx := cmd.Context()
		if ctx == nil {
			ctx = context.Background()
		}
		ctx, cancel := context.WithTimeout(ctx, completionLimit)
		defer cancel()
		var matching []string
		err := t.with(ctx, func(s *Service) error {
			all, err := names(ctx, s)
			for _, name := range all {
				if strings.HasPrefix(name, begun) {
					matching = append(matching, name)
				}
			}
			return err
		})
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return matching, cobra.ShellCompDirectiveNoFileComp
	}
}

// completeOne completes a first argument, and no more.
func (t *tree) completeOne(names func(context.Context, *Service) ([]string, error)) cobra.CompletionFunc {
	complete := t.complete(names)
	return func(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return complete(cmd, args, begun)
	}
}

// tenantIDs returns all tenants, in whatever state.
func tenantIDs(ctx context.Context, s *Service) (ids []string, err error) {
	if s.Tenants == nil && s.Fleet == nil {
		return nil, nil
	}
	if s.Tenants == nil {
		for t, err := range s.Fleet.Tenants(ctx) {
			if err != nil {
				return nil, err
			}
			ids = append(ids, t.ID.String())
		}
		return ids, nil
	}
	for t, err := range s.Tenants.List(ctx, catalog.Filter{}) {
		if err != nil {
			return nil, err
		}
		ids = append(ids, t.ID.String())
	}
	return ids, nil
}

func serverNames(ctx context.Context, s *Service) ([]string, error) {
	c, err := s.catalog()
	if err != nil {
		return nil, err
	}
	servers, err := c.Servers(ctx)
	var names []string
	for _, server := range servers {
		names = append(names, server.Name)
	}
	return names, err
}

// runIDs returns the last runs.
func runIDs(ctx context.Context, s *Service) ([]string, error) {
	m, err := s.migrator()
	if err != nil {
		return nil, err
	}
	runs, err := m.Runs(ctx, defaultRuns)
	var ids []string
	for _, run := range runs {
		ids = append(ids, strconv.FormatInt(run.ID, 10))
	}
	return ids, err
}
