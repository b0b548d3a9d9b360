package catalog_test

import (
	"testing"

	"github.com/tenantry/tenantry/catalog"
	"github.com/tenantry/tenantry/httpmw"
)

func TestANewTenantIsServedOnItsHosts(t *testing.T) {
	t.Parallel()
	c, db, _ := service(t)
	for _, n := range []catalog.New{
		{ID: "acme", Name: "Acme Corp", Hosts: []string{"acme", "portal.acme.example"}},
		{ID: "globex", Kind: catalog.OwnDatabase, Labels: map[string]string{"plan": "large"}},
	} {
		tenant := create(t, c, n)
		if tenant.State != catalog.Active || tenant.ID.String() != n.ID {
			t.Errorf("got %+v", tenant)
		}
		for _, h := range tenant.Hosts {
			kind := httpmw.KindSubdomain
			if h.Domain {
				kind = httpmw.KindHost
			}
			got, err := c.Lookup(t.Context(), httpmw.Ref{Kind: kind, Value: h.Name})
			if err != nil || got != tenant.ID {
				t.Errorf("%s: got %v, %v", h, got, err)
			}
		}
		if err := db.WithContext(as(t, n.ID)).Create(&Invoice{Title: n.ID}).Error; err != nil {
			t.Error(err)
		}
	}
	for _, id := range []string{"acme", "globex"} {
		var invoices []Invoice
		if err := db.WithContext(as(t, id)).Find(&invoices).Error; err != nil || len(invoices) != 1 || invoices[0].Title != id {
			t.Errorf("%s: got %v, %v", id, invoices, err)
		}
	}
}
