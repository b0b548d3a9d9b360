package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"github.com/tenantry/tenantry/httpmw"
	"github.com/tenantry/tenantry/scope"
)

// tenancy is river middleware for all jobs. A job is worked under the scope of the
// context that it was inserted with, which travels in the job's metadata. Without one
// it is not inserted, and one that came into the queue in another way is not worked.
type tenancy struct {
	river.MiddlewareDefaults
	tenants httpmw.Directory
}

var (
	_ rivertype.JobInsertMiddleware = (*tenancy)(nil)
	_ rivertype.WorkerMiddleware    = (*tenancy)(nil)
)

// InsertMany implements rivertype.JobInsertMiddleware.
func (*tenancy) InsertMany(ctx context.Context, jobs []*rivertype.JobInsertParams, insert func(context.Context) ([]*rivertype.JobInsertResult, error)) ([]*rivertype.JobInsertResult, error) {
	for _, job := range jobs {
		if err := mark(ctx, job); err != nil {
			return nil, err
		}
	}
	return insert(ctx)
}

// mark writes the scope of ctx into a job. A job that is to be unique is so for its
// tenant: without this, one tenant's job would be a duplicate of another's.
func mark(ctx context.Context, job *rivertype.JobInsertParams) (err error) {
	var m metadata
	if len(job.Metadata) > 0 {
		if err := json.Unmarshal(job.Metadata, &m); err != nil {
			return err
		}
	}
	if m == nil { // none, or JSON's null
		m = metadata{}
	}
	if err := scope.Inject(ctx, m); err != nil {
		return err
	}
	if job.UniqueKey != nil {
		sum := sha256.Sum256(slices.Concat([]byte(m.Get(scope.HeaderName)+" "), job.UniqueKey))
		job.UniqueKey = sum[:]
	}
	job.Metadata, err = json.Marshal(m)
	return err
}

// Work implements rivertype.WorkerMiddleware.
func (t *tenancy) Work(ctx context.Context, job *rivertype.JobRow, work func(context.Context) error) error {
	var m metadata
	if err := json.Unmarshal(job.Metadata, &m); err != nil {
		return river.JobCancel(err)
	}
	ctx, err := scope.Extract(ctx, m)
	if err != nil {
		return river.JobCancel(err) // no other attempt would find one
	}
	if err := t.served(ctx); err != nil {
		return err // tried again: the tenant may be resumed by then
	}
	return work(ctx)
}

// served returns an error for a tenant that is unknown or suspended.
func (t *tenancy) served(ctx context.Context) error {
	if scope.IsShared(ctx) {
		return nil
	}
	tenant, err := scope.From(ctx)
	if err != nil {
		return err
	}
	if _, err := t.tenants.Lookup(ctx, httpmw.Ref{Kind: httpmw.KindID, Value: tenant.String()}); err != nil {
		return fmt.Errorf("jobs: tenant %q: %w", tenant, err)
	}
	return nil
}

// metadata is a job's, as a carrier of the scope.
type metadata map[string]any

var _ scope.Carrier = metadata{}

// Get returns the string of that name, or "".
func (m metadata) Get(name string) string {
	value, _ := m[name].(string)
	return value
}

// Set writes a string.
func (m metadata) Set(name, value string) { m[name] = value }
