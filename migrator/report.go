package migrator

import (
	"errors"
	"time"

	"github.com/tenantry/tenantry/scope"
)

// Report says what a Run has done.
type Report struct {
	// Results has one entry for each tenant, in the order of the list.
	Results []Result
}

// Result is what a Run has done for one tenant.
type Result struct {
	Tenant   scope.Tenant
	Applied  []string      // ids applied by this run, in order; none if it failed
	Duration time.Duration // waiting for another process's lock included
	Err      error         // nil, or a *scope.TenantError; the tenant is then unchanged
}

func newReport(results []*Result) Report {
	report := Report{Results: make([]Result, len(results))}
	for i, r := range results {
		report.Results[i] = *r
	}
	return report
}

func (r Report) err() error {
	errs := make([]error, len(r.Results))
	for i, result := range r.Results {
		errs[i] = result.Err
	}
	return errors.Join(errs...)
}
