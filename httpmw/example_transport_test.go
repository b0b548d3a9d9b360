package httpmw_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"

	"github.com/tenantry/tenantry/httpmw"
	"github.com/tenantry/tenantry/scope"
)

// call asks url under the scope of ctx and prints what the service answers.
func call(ctx context.Context, client *http.Client, url string) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		log.Fatal(err)
	}
	resp, err := client.Do(r)
	if err != nil {
		fmt.Println("not sent")
		return
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	fmt.Println(string(body), err)
}

func ExampleNewTransport() {
	// The service that is called, where only your own services reach it.
	tenant, err := httpmw.New(httpmw.Fixed(acme()), httpmw.Header(scope.HeaderName))
	if err != nil {
		log.Fatal(err)
	}

	// The service that calls.
	transport, err := httpmw.NewTransport(nil, "127.0.0.1")
	if err != nil {
		log.Fatal(err)
	}

	billing := httptest.NewServer(tenant(http.HandlerFunc(hello)))
	defer billing.Close()
	client := &http.Client{Transport: transport}
	defer client.CloseIdleConnections()
	call(scope.With(context.Background(), acme()), client, billing.URL)
	call(context.Background(), client, billing.URL)
	// Output:
	// hello acme <nil>
	// not sent
}
