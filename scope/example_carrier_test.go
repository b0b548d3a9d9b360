package scope_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net/http"

	"github.com/tenantry/tenantry/scope"
)

// ofAcme is a context as middleware makes it.
func ofAcme() context.Context {
	acme, err := scope.Parse("acme")
	if err != nil {
		log.Fatal(err)
	}
	return scope.With(context.Background(), acme)
}

func ExampleInject() {
	headers := scope.Map{"Content-Type": "application/json"}
	if err := scope.Inject(ofAcme(), headers); err != nil {
		log.Fatal(err)
	}
	fmt.Println(headers)

	err := scope.Inject(context.Background(), headers)
	fmt.Println(err)
	// Output:
	// map[Content-Type:application/json Tenantry-Tenant:acme]
	// tenantry: inject: tenantry: no tenant in context
}

func ExampleExtract() {
	received := http.Header{"Tenantry-Tenant": {"acme"}}
	ctx, err := scope.Extract(context.Background(), received)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(scope.From(ctx))

	_, err = scope.Extract(context.Background(), http.Header{})
	fmt.Println(errors.Is(err, scope.ErrNone))
	// Output:
	// acme <nil>
	// true
}

// SendInvoice is what a job is to do.
type SendInvoice struct {
	Scope     scope.Carried `json:"scope"`
	InvoiceID int64         `json:"invoice_id"`
}

func work(ctx context.Context, args []byte) error {
	var job SendInvoice
	if err := json.Unmarshal(args, &job); err != nil {
		return err
	}
	ctx, err := job.Scope.Context(ctx)
	if err != nil {
		return err
	}
	tenant, err := scope.From(ctx)
	fmt.Printf("invoice %d of %s\n", job.InvoiceID, tenant)
	return err
}

func ExampleCarry() {
	carried, err := scope.Carry(ofAcme())
	if err != nil {
		log.Fatal(err)
	}
	args, err := json.Marshal(SendInvoice{Scope: carried, InvoiceID: 7})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s\n", args)

	fmt.Println(work(context.Background(), args))
	fmt.Println(work(context.Background(), []byte(`{"invoice_id":8}`)))
	// Output:
	// {"scope":{"tenant":"acme"},"invoice_id":7}
	// invoice 7 of acme
	// <nil>
	// tenantry: the job carries no scope: tenantry: no tenant in context
}
