package catalog_test

import (
	"errors"
	"testing"

	"github.com/tenantry/tenantry/catalog"
)

func TestCheckSaysWhatCreateWouldSay(t *testing.T) {
	t.Parallel()
	c, _, _ := service(t)
	create(t, c, catalog.New{ID: "acme", Hosts: []string{"acme", "portal.acme.example"}})
	for _, tt := range []struct {
		n     catalog.New
		field string
		want  error
	}{
		{catalog.New{ID: "globex"}, "", nil},
		{catalog.New{ID: "acme"}, "id", catalog.ErrTaken},
		{catalog.New{ID: "www"}, "id", catalog.ErrReserved},
		{catalog.New{ID: "Acme"}, "id", catalog.ErrInvalid},
		{catalog.New{ID: "initech", Hosts: []string{"initech", "portal.acme.example"}}, "host", catalog.ErrTaken},
	} {
		checked := c.Check(t.Context(), tt.n)
		_, created := c.Create(t.Context(), tt.n)
		for what, err := range map[string]error{"Check": checked, "Create": created} {
			var input *catalog.InputError
			if tt.want == nil && err != nil || tt.want != nil && (!errors.Is(err, tt.want) || !errors.As(err, &input) || input.Field != tt.field) {
				t.Errorf("%s %+v: got %v, want %v of %q", what, tt.n, err, tt.want, tt.field)
			}
		}
	}
}
