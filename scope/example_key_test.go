package scope_test

import (
	"context"
	"fmt"

	"github.com/tenantry/tenantry/scope"
)

func ExampleKey() {
	fmt.Println(scope.Key(ofAcme(), "invoices", "2026/7.pdf"))
	fmt.Println(scope.Key(ofAcme(), "..", "globex", ""))
	fmt.Println(scope.Key(ofAcme())) // what each of acme's keys begins with
	fmt.Println(scope.Key(scope.Shared(context.Background()), "plans"))
	_, err := scope.Key(context.Background(), "invoices")
	fmt.Println(err)
	// Output:
	// acme/invoices/2026!2F7.pdf <nil>
	// acme/!2E./globex/! <nil>
	// acme/ <nil>
	// _shared/plans <nil>
	// tenantry: key: tenantry: no tenant in context
}
