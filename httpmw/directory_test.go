package httpmw_test

import (
	"errors"
	"testing"

	"github.com/tenantry/tenantry/httpmw"
	"github.com/tenantry/tenantry/scope"
)

func TestFixedKnowsItsTenantsOnly(t *testing.T) {
	acme := tenant(t, "acme")
	dir := httpmw.Fixed(acme, scope.Tenant{})
	for name, tc := range map[string]struct {
		ref  httpmw.Ref
		want scope.Tenant
	}{
		"by id":                 {httpmw.Ref{Kind: httpmw.KindID, Value: "acme"}, acme},
		"by subdomain":          {httpmw.Ref{Kind: httpmw.KindSubdomain, Value: "acme"}, acme},
		"another id":            {httpmw.Ref{Kind: httpmw.KindID, Value: "globex"}, scope.Tenant{}},
		"a label that is no id": {httpmw.Ref{Kind: httpmw.KindSubdomain, Value: "3com"}, scope.Tenant{}},
		"a custom domain":       {httpmw.Ref{Kind: httpmw.KindHost, Value: "acme"}, scope.Tenant{}},
		"an empty value":        {httpmw.Ref{Kind: httpmw.KindID}, scope.Tenant{}},
		"the zero kind":         {httpmw.Ref{Value: "acme"}, scope.Tenant{}},
		"a later kind":          {httpmw.Ref{Kind: 200, Value: "acme"}, scope.Tenant{}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := dir.Lookup(t.Context(), tc.ref)
			if got != tc.want || errors.Is(err, httpmw.ErrUnknown) != tc.want.IsZero() {
				t.Errorf("got %v, %v; want %v", got, err, tc.want)
			}
		})
	}
}
