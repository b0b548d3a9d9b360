package scope_test

import (
	"context"
	"fmt"

	"github.com/tenantry/tenantry/scope"
)

func Example() {
	acme, err := scope.Parse("acme")
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := scope.With(context.Background(), acme)
	fmt.Println(scope.From(ctx))
	fmt.Println(scope.From(context.Background()))
	// Output:
	// acme <nil>
	//  tenantry: no tenant in context
}
